//! The bench on which a component lies: it is loaded anew for each condition, with what its manifest asks for, or less.

use std::collections::BTreeSet;
use std::sync::Arc;

use fondaco_runtime::{Context, Grants, LazyHolder, Limits, LoadError, Plugin, Runtime, Spec, Visitor, Who};
use fondaco_schemas::{Capability, HolderKey};

use crate::Subject;
use crate::host::Host;

/// Runtime and subject.
pub(crate) struct Bench {
    runtime: Runtime,
    pub subject: Subject,
}

impl Bench {
    pub fn new(runtime: Runtime, subject: Subject) -> Self {
        Self { runtime, subject }
    }

    /// A node that is played, empty but for its works.
    pub fn host(&self) -> Arc<Host> {
        Host::new(&self.subject)
    }

    /// What the manifest asks for, and what of it is optional.
    pub fn asked(&self) -> (BTreeSet<Capability>, BTreeSet<Capability>) {
        let asks = &self.subject.manifest.capabilities.0;
        let optional = asks.iter().filter(|(_, ask)| ask.optional).map(|(c, _)| *c).collect();
        (asks.keys().copied().collect(), optional)
    }

    /// The limits that a node sets whose operator set none.
    pub fn limits(&self) -> Limits {
        let manifest = &self.subject.manifest;
        let effective = manifest.capabilities.effective(&manifest.capabilities.all());
        let quota = effective.0.get(&Capability::Storage).and_then(|g| g.quota);
        Limits::new(
            &manifest.limits,
            &fondaco_schemas::Limits::default(),
            quota.map_or(0, fondaco_schemas::ByteSize::get),
        )
    }

    /// Loads it with everything granted but this.
    pub async fn load_without(
        &self,
        host: &Arc<Host>,
        without: Option<Capability>,
        limits: Limits,
    ) -> Result<Plugin, LoadError> {
        let (mut granted, optional) = self.asked();
        if let Some(without) = without {
            granted.remove(&without);
        }
        self.load_with(host, Grants { granted, optional, http: None }, limits).await
    }

    /// Loads it with everything granted but this, as if this were not optional.
    pub async fn load_strictly_without(&self, without: Capability) -> Result<Plugin, LoadError> {
        let (mut granted, mut optional) = self.asked();
        granted.remove(&without);
        optional.remove(&without);
        self.load_with(&self.host(), Grants { granted, optional, http: None }, self.limits()).await
    }

    async fn load_with(&self, host: &Arc<Host>, grants: Grants, limits: Limits) -> Result<Plugin, LoadError> {
        let manifest = &self.subject.manifest;
        let spec = Spec {
            who: Who { id: manifest.id.to_string(), version: manifest.version.to_string() },
            kind: manifest.kind,
            component: self.subject.component.clone(),
            grants,
            limits,
            services: host.clone(),
        };
        self.runtime.load(spec).await
    }

    /// Loads it as a node would whose operator granted everything.
    pub async fn load(&self, host: &Arc<Host>) -> Result<Plugin, LoadError> {
        self.load_without(host, None, self.limits()).await
    }
}

/// The visitor of the kit's requests.
pub(crate) fn visitor() -> Arc<Visitor> {
    Arc::new(Visitor {
        handle: crate::host::SESSION.into(),
        cookie_hash: [5; 32],
        brought: None,
        own: LazyHolder::new(Box::new(|| Some(HolderKey::new(*crate::host::holder(1).public().as_bytes())))),
        led_on: Arc::default(),
    })
}

/// In the visitor's name.
pub(crate) fn visiting(visitor: &Arc<Visitor>) -> Context {
    Context { depth: 0, visitor: Some(visitor.clone()) }
}
