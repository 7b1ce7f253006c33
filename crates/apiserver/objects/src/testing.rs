//! A store with its writes in one line, for tests.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ApiError;
use crate::garbage::{self, Kinds};
use crate::resource::{GroupResource, Resource, Scope};
use crate::store::Store;
use crate::watch_log::LogLimits;
use crate::write::{
    Author, Change, Create, Delete, DeleteOptions, Part, Planned, Update, admit_all,
};

/// A store with the namespaces `a` and `b`, and a clock that moves a second per write.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) changes: Vec<Change>,
    clock: i64,
}

pub(crate) fn pods() -> Resource {
    Resource::builtin("", "pods", "Pod", Scope::Namespaced)
}

pub(crate) fn config_maps() -> Resource {
    Resource::builtin("", "configmaps", "ConfigMap", Scope::Namespaced)
}

pub(crate) fn namespaces() -> Resource {
    Resource::builtin("", "namespaces", "Namespace", Scope::Cluster)
}

pub(crate) fn widgets() -> Resource {
    Resource::custom(
        "x.io",
        "widgets",
        "Widget",
        Scope::Namespaced,
        true,
        &[".spec.color"],
    )
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_limits(LogLimits::default())
    }

    pub(crate) fn with_limits(limits: LogLimits) -> Self {
        let mut bench = Self {
            store: Store::new(limits),
            changes: Vec::new(),
            clock: 1_700_000_000,
        };
        for name in ["a", "b"] {
            bench
                .create(&namespaces(), "", json!({"metadata": {"name": name}}))
                .unwrap();
        }
        bench
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock).unwrap()
    }

    fn take(&mut self, planned: Result<Planned, ApiError>) -> Result<Planned, ApiError> {
        self.clock += 1;
        let planned = planned?;
        self.store.commit(&planned.changes)?;
        self.changes.extend(planned.changes.iter().cloned());
        Ok(planned)
    }

    pub(crate) fn create(
        &mut self,
        resource: &Resource,
        namespace: &str,
        object: Value,
    ) -> Result<Planned, ApiError> {
        let uid = format!("uid-{}", self.clock);
        let author = Author {
            now: self.now(),
            uid: &uid,
            seed: 1,
            tracking: None,
        };
        let create = Create {
            namespace,
            object,
            author,
            admit: &mut admit_all,
        };
        let planned = self.store.plan_create(resource, create);
        self.take(planned)
    }

    /// Changes the stored object with `edit` and writes it back.
    pub(crate) fn edit(
        &mut self,
        resource: &Resource,
        (namespace, name): (&str, &str),
        part: Part<'_>,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Planned, ApiError> {
        let mut object = self
            .store
            .fetch(&resource.group_resource, namespace, name)?
            .value();
        edit(&mut object);
        let author = Author::server(self.now());
        let update = Update {
            namespace,
            name,
            part,
            object,
            author,
            admit: &mut admit_all,
        };
        let planned = self.store.plan_update(resource, update);
        self.take(planned)
    }

    pub(crate) fn delete(
        &mut self,
        resource: &Resource,
        (namespace, name): (&str, &str),
        options: DeleteOptions,
    ) -> Result<Planned, ApiError> {
        let delete = Delete {
            namespace,
            name,
            options,
            now: self.now(),
        };
        let planned = self.store.plan_delete(resource, &delete);
        self.take(planned)
    }

    /// Runs the garbage collector over `from` and everything that follows from it.
    pub(crate) fn collect(&mut self, resources: &[Resource], kinds: &dyn Kinds, from: usize) {
        let mut next = from;
        while let Some(change) = self.changes.get(next).cloned() {
            next += 1;
            for action in garbage::after(&self.store, &change, kinds) {
                let target = action.target().resource.clone();
                let resource = resources
                    .iter()
                    .find(|resource| resource.group_resource == target)
                    .unwrap();
                if let Some(planned) = self
                    .store
                    .plan_action(resource, &action, self.now())
                    .unwrap()
                {
                    self.take(Ok(planned)).unwrap();
                }
            }
        }
    }

    pub(crate) fn names(&self, resource: &Resource) -> Vec<String> {
        let objects = self.store.objects(&resource.group_resource, None);
        objects.map(|object| object.name().to_owned()).collect()
    }
}

/// Kinds for owner references in tests.
pub(crate) struct KnownKinds(pub(crate) Vec<Resource>);

impl Kinds for KnownKinds {
    fn resource_of(&self, api_version: &str, kind: &str) -> Option<(GroupResource, Scope)> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let known = self
            .0
            .iter()
            .find(|known| known.group() == group && &*known.kind == kind)?;
        Some((known.group_resource.clone(), known.scope))
    }
}
