//! What a role may read: taking a part of it away, and giving it back.

use etcd_client::{Permission, RoleRevokePermissionOptions};
use meshbed_driver::{EtcdRole, KeyRange};

use crate::{Etcd, EtcdError};

impl Etcd {
    /// Takes from a role the right to read `range`, which is exactly one that it has. Watches that exist go on: etcd looks at
    /// rights when a watch begins.
    pub async fn revoke_reading(&self, role: EtcdRole, range: &KeyRange) -> Result<(), EtcdError> {
        let (mut client, key) = (self.client(), range.start().to_owned());
        let options = match range {
            KeyRange::Key(_) => None,
            KeyRange::Prefix(_) => Some(RoleRevokePermissionOptions::new().with_prefix()),
        };
        let request = async move { Ok(client.role_revoke_permission(role.name(), key, options).await.map(drop)?) };
        self.ask(|| format!("forbid the role `{}` to read `{range}`", role.name()), request).await
    }

    /// Lets a role read `range`.
    pub async fn grant_reading(&self, role: EtcdRole, range: &KeyRange) -> Result<(), EtcdError> {
        let mut client = self.client();
        let permission = match range {
            KeyRange::Key(key) => Permission::read(key.as_str()),
            KeyRange::Prefix(prefix) => Permission::read(prefix.as_str()).with_prefix(),
        };
        let request = async move { Ok(client.role_grant_permission(role.name(), permission).await.map(drop)?) };
        self.ask(|| format!("allow the role `{}` to read `{range}`", role.name()), request).await
    }
}
