//! Which interfaces a component gets. A linker is made for each plugin and holds what was granted to it, and nothing
//! else; a component that imports more is refused before any of its code runs.

use std::collections::BTreeSet;

use fondaco_schemas::{Capability, Gate, api, gate};
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::error::{LoadError, Who};
use crate::outbound::HttpGrant;
use crate::state::State;
use crate::{v0_1, wit};

/// What a plugin may import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Capabilities that the operator granted.
    pub granted: BTreeSet<Capability>,
    /// Capabilities that the manifest calls optional: linked, and `denied` on each call where they were not granted.
    pub optional: BTreeSet<Capability>,
    /// Which web services, where `http` is granted.
    pub http: Option<HttpGrant>,
}

impl Grants {
    pub(crate) fn links(&self, capability: Capability) -> bool {
        self.granted.contains(&capability) || self.optional.contains(&capability)
    }
}

/// Checks a component's real imports (read from the binary, not from the manifest) against what is granted.
pub(crate) fn audit(engine: &Engine, component: &Component, who: &Who, grants: &Grants) -> Result<(), LoadError> {
    for (import, _) in component.component_type().imports(engine) {
        check_import(import, who, grants)?;
    }
    Ok(())
}

fn check_import(import: &str, who: &Who, grants: &Grants) -> Result<(), LoadError> {
    let unknown =
        || LoadError::UnknownImport { who: who.clone(), import: import.to_owned(), api: api::listed(&api::OFFERED) };
    let needs = |capability: Capability, line: String| {
        if grants.links(capability) {
            return Ok(());
        }
        Err(LoadError::NotGranted {
            who: who.clone(),
            import: import.to_owned(),
            capability: capability.as_str().to_owned(),
            hint: format!(
                "its manifest must ask for [capabilities.{capability}], and the operator must grant it with {line}"
            ),
        })
    };
    let (name, version) = import.split_once('@').ok_or_else(unknown)?;
    let (package, interface) = name.split_once('/').ok_or_else(unknown)?;
    match package {
        "fondaco:plugin" => {
            let version = semver::Version::parse(version).map_err(|_| unknown())?;
            if !api::OFFERED.iter().any(|offered| api::links(&version, offered)) {
                return Err(unknown());
            }
            match gate(import).ok_or_else(unknown)? {
                Gate::Open => Ok(()),
                Gate::Needs(capability) => needs(capability, format!("`fondaco plugin grant {} {capability}`", who.id)),
            }
        }
        // WASI without anything behind it: clocks, randomness, and a standard error that goes to the log.
        "wasi:io" | "wasi:clocks" | "wasi:random" | "wasi:cli" | "wasi:filesystem" | "wasi:sockets" => Ok(()),
        "wasi:http" if interface == "types" => Ok(()),
        "wasi:http" if interface == "outgoing-handler" && version.starts_with("0.2.") => {
            needs(Capability::Http, format!("`grant.http.hosts = [..]` under [plugins.\"{}\"] in fondaco.toml", who.id))
        }
        _ => Err(unknown()),
    }
}

pub(crate) fn linker(engine: &Engine, grants: &Grants) -> wasmtime::Result<Linker<State>> {
    let mut l = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut l)?;
    let options = wasmtime_wasi_http::p2::bindings::LinkOptions::default();
    wasmtime_wasi_http::p2::bindings::http::types::add_to_linker::<_, wasmtime_wasi_http::WasiHttp>(
        &mut l,
        &(&options).into(),
        <State as wasmtime_wasi_http::WasiHttpView>::http,
    )?;
    if grants.links(Capability::Http) {
        wasmtime_wasi_http::p2::bindings::http::outgoing_handler::add_to_linker::<_, wasmtime_wasi_http::WasiHttp>(
            &mut l,
            <State as wasmtime_wasi_http::WasiHttpView>::http,
        )?;
    }
    macro_rules! link {
        ($($interface:ident),*) => { $(wit::$interface::add_to_linker::<State, HasSelf<State>>(&mut l, |s| s)?;)* };
    }
    link!(types, search_types, payment_types, drm_types, advocacy_types, settings);
    macro_rules! link_granted {
        ($($capability:ident => $interface:ident),*) => {
            $(if grants.links(Capability::$capability) { link!($interface); })*
        };
    }
    link_granted!(
        Storage => storage, Catalogue => catalogue, Blobs => blobs, Keys => keys, Discovery => discovery, Peers => peers,
        Commerce => commerce, Campaigns => campaigns, Mail => mail, Assets => assets
    );
    v0_1::link(&mut l, grants)?;
    Ok(l)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(import: &str, granted: &[Capability]) -> Result<(), String> {
        let who = Who { id: "org.example.p".into(), version: "1.0.0".into() };
        let grants = Grants { granted: granted.iter().copied().collect(), ..Grants::default() };
        check_import(import, &who, &grants).map_err(|e| e.to_string())
    }

    #[test]
    fn every_interface_needs_its_grant() {
        for capability in Capability::ALL.into_iter().filter(|c| *c != Capability::Http) {
            for version in api::OFFERED {
                let import = format!("fondaco:plugin/{capability}@{version}");
                let refusal = check(&import, &[]).unwrap_err();
                assert!(refusal.contains(capability.as_str()) && refusal.contains("org.example.p 1.0.0"), "{refusal}");
                let others: Vec<_> = Capability::ALL.into_iter().filter(|c| *c != capability).collect();
                assert!(check(&import, &others).is_err(), "{capability} is not implied by the others");
                assert_eq!(check(&import, &[capability]), Ok(()));
            }
        }
    }

    #[test]
    fn web_services_are_called_by_those_who_were_granted_hosts() {
        let import = "wasi:http/outgoing-handler@0.2.4";
        let others: Vec<_> = Capability::ALL.into_iter().filter(|c| *c != Capability::Http).collect();
        let refusal = check(import, &others).unwrap_err();
        assert!(refusal.contains("grant.http.hosts = [..]") && refusal.contains("org.example.p 1.0.0"), "{refusal}");
        assert_eq!(check(import, &[Capability::Http]), Ok(()));
    }

    #[test]
    fn refuses_what_no_node_offers() {
        for import in [
            "fondaco:plugin/root@0.1.0",
            "fondaco:plugin/storage@0.3.0",
            "fondaco:plugin/storage@0.1.0-rc.1",
            "fondaco:plugin/storage",
            "wasi:http/outgoing-handler@0.3.0",
            "wasi:http/handler@0.2.4",
            "wasi:keyvalue/store@0.2.0-draft",
            "evil",
        ] {
            assert!(check(import, &Capability::ALL).is_err(), "{import}");
        }
        assert_eq!(
            check("fondaco:plugin/storage@0.1.7", &[Capability::Storage]),
            Ok(()),
            "a later patch of the same track"
        );
    }

    /// Is the function in the linker? One name is defined once.
    fn links(linker: &mut Linker<State>, version: &str, interface: &str, function: &str) -> bool {
        let mut instance = linker.instance(&format!("fondaco:plugin/{interface}@{version}")).unwrap();
        instance.func_wrap(function, |_, (): ()| Ok(())).is_err()
    }

    #[test]
    fn what_was_not_granted_is_not_linked() {
        let engine = Engine::new(&crate::engine::config()).unwrap();
        let functions = [
            (Capability::Storage, "get"),
            (Capability::Catalogue, "get"),
            (Capability::Blobs, "read"),
            (Capability::Keys, "derive"),
            (Capability::Discovery, "search"),
            (Capability::Commerce, "checkout"),
            (Capability::Campaigns, "running"),
            (Capability::Mail, "send"),
            (Capability::Assets, "paths"),
        ];
        for (capability, function) in functions {
            for version in ["0.1.0", "0.2.0"] {
                let all: BTreeSet<_> = Capability::ALL.into_iter().collect();
                let others = all.iter().copied().filter(|c| *c != capability).collect();
                let with = |granted| linker(&engine, &Grants { granted, ..Grants::default() }).unwrap();
                assert!(!links(&mut with(others), version, capability.as_str(), function), "{capability} {version}");
                assert!(links(&mut with(all), version, capability.as_str(), function), "{capability} {version}");
            }
        }
    }
}
