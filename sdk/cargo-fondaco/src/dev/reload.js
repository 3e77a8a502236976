// Added by cargo fondaco dev to every page: loads it anew when another version of the plugin runs, and shows why the last
// build failed. It is no part of the plugin.
"use strict";
{
  let seen = null;
  let box = null;
  const show = (text) => {
    if (!text) {
      box?.remove();
      box = null;
      return;
    }
    box ??= document.body.appendChild(document.createElement("pre"));
    box.textContent = text;
    box.setAttribute("role", "alert");
    // Set one by one: the policy of the page allows no style attribute, and this is none.
    Object.assign(box.style, {
      position: "fixed", inset: "auto 0 0 0", maxHeight: "60vh", overflow: "auto", margin: "0", padding: "1rem",
      background: "#1b1b1b", color: "#ffb4a9", font: "13px/1.5 monospace", whiteSpace: "pre-wrap", zIndex: "2147483647",
    });
  };
  const events = new EventSource("/-dev/events");
  events.onmessage = ({ data }) => {
    const { version, error } = JSON.parse(data);
    if (seen !== null && version !== seen) {
      location.reload();
      return;
    }
    seen = version;
    show(error);
  };
}
