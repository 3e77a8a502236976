"""PyPI's tuf as a reader and an author of registries.

registry.py read FOLDER ROOT PATH OUT [KEPT]  serves FOLDER, follows it from ROOT with tuf's client, fetches the target
                                      PATH to OUT, and prints the versions of what is trusted then. KEPT: a folder for
                                      what the client keeps from one time to the next
registry.py write FOLDER BUNDLE PATH  makes a registry that lists BUNDLE under PATH by a delegated role; prints the
                                      SHA-256 of its root
registry.py rotate FOLDER BUNDLE PATH the registry's next version: all keys are new, and BUNDLE is there, too
"""

import functools
import hashlib
import http.server
import json
import os
import sys
import tempfile
import threading
from datetime import datetime, timedelta, timezone

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import Updater

TOP = ["root", "timestamp", "snapshot", "targets"]
ROLE = "somebody"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def read(folder, root, path, out, kept=None):
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        with open(root, "rb") as file:
            bootstrap = file.read()
        kept = kept or tempfile.mkdtemp()
        os.makedirs(kept, exist_ok=True)
        updater = Updater(kept, f"{base}/metadata/", os.path.dirname(out), f"{base}/targets/", bootstrap=bootstrap)
        updater.refresh()
        target = updater.get_targetinfo(path)
        if target is None:
            sys.exit(f"no target {path}")
        updater.download_target(target, out)
        trusted = updater._trusted_set
        print(json.dumps({name: trusted[name].version for name in trusted._trusted_set}))
        server.shutdown()


def signer(name):
    """A key of its own for each name: the same in each run."""
    seed = hashlib.sha256(name.encode()).digest()
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(seed))


def save(folder, name, metadata):
    path = os.path.join(folder, "metadata", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    metadata.to_file(path)
    with open(path, "rb") as file:
        return file.read()


def add(folder, bundle, path):
    with open(bundle, "rb") as file:
        data = file.read()
    # Both digests, and so a file for each.
    target = TargetFile.from_data(path, data, ["sha256", "sha512"])
    for name in target.get_prefixed_paths():
        out = os.path.join(folder, "targets", name)
        os.makedirs(os.path.dirname(out), exist_ok=True)
        with open(out, "wb") as file:
            file.write(data)
    return target


def make(folder, version, targets):
    expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=5)
    keys = {name: signer(f"{name} {version}") for name in TOP + [ROLE]}
    root = Root(version, expires=expires, consistent_snapshot=True)
    for name in TOP:
        root.add_key(keys[name].public_key, name)
    # A field of our own and a letter that JSON may write in two ways must not change what is signed.
    root.unrecognized_fields["x-note"] = 'é "quoted" \\ and\nmore'
    signed = Metadata(root)
    signed.sign(keys["root"])
    if version > 1:
        signed.sign(signer(f"root {version - 1}"), append=True)
    root_bytes = save(folder, f"{version}.root.json", signed)

    delegated = Metadata(Targets(version, expires=expires, targets=targets))
    delegated.sign(keys[ROLE])
    delegated_bytes = save(folder, f"{version}.{ROLE}.json", delegated)

    role = DelegatedRole(ROLE, [], 1, True, ["org.fondaco.*/*"])
    key: Key = keys[ROLE].public_key
    role.keyids.append(key.keyid)
    top = Metadata(Targets(version, expires=expires, delegations=Delegations({key.keyid: key}, {ROLE: role})))
    top.sign(keys["targets"])
    top_bytes = save(folder, f"{version}.targets.json", top)

    # One with digests, one without: both are allowed.
    meta = {"targets.json": MetaFile.from_data(version, top_bytes, ["sha256"]), f"{ROLE}.json": MetaFile(version)}
    assert delegated_bytes
    snapshot = Metadata(Snapshot(version, expires=expires, meta=meta))
    snapshot.sign(keys["snapshot"])
    snapshot_bytes = save(folder, f"{version}.snapshot.json", snapshot)

    timestamp = Timestamp(version, expires=expires, snapshot_meta=MetaFile.from_data(version, snapshot_bytes, ["sha512"]))
    timestamp = Metadata(timestamp)
    timestamp.sign(keys["timestamp"])
    save(folder, "timestamp.json", timestamp)
    return hashlib.sha256(root_bytes).hexdigest()


def main(verb, folder, *rest):
    if verb == "read":
        return read(folder, *rest)
    bundle, path = rest
    targets = {path: add(folder, bundle, path)}
    if verb == "write":
        print(make(folder, 1, targets))
    elif verb == "rotate":
        with open(os.path.join(folder, "metadata", f"1.{ROLE}.json"), "rb") as file:
            targets.update(Metadata.from_bytes(file.read()).signed.targets)
        make(folder, 2, targets)
    else:
        sys.exit(f"no verb {verb}")


if __name__ == "__main__":
    main(*sys.argv[1:])
