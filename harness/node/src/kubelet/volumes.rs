//! Volumes of a pod as folders of the node.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, ConfigMapVolumeSource, Container, Pod, Volume},
};

use super::catalogue::WEB_ROOT;

/// All config maps of the cluster, by namespace and name.
pub(crate) type ConfigMaps = BTreeMap<(String, String), ConfigMap>;

/// What a web server without any file of its own answers.
const DEFAULT_PAGE: &str = "meshbed: nothing is mounted at /usr/share/nginx/html\n";

/// A volume cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// It may come later.
    #[error("config map `{namespace}/{name}` of volume `{volume}` is not there")]
    NoConfigMap { volume: String, namespace: String, name: String },
    /// It may come later.
    #[error("config map `{name}` of volume `{volume}` has no key `{key}`")]
    NoKey { volume: String, name: String, key: String },
    #[error("volume `{volume}` is of a kind that meshbed does not have (configMap, emptyDir and hostPath it has)")]
    Unsupported { volume: String },
    #[error("path `{path}` in volume `{volume}` leads out of it")]
    Path { volume: String, path: String },
    #[error("container mounts volume `{volume}`, which the pod does not have")]
    Unknown { volume: String },
    #[error("failed to write `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A part of a volume and where the container wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
}

/// Makes all volumes of a pod below `folder`, or brings them up to date. Files are replaced atomically.
pub(crate) fn materialise(pod: &Pod, folder: &Path, config_maps: &ConfigMaps) -> Result<(), VolumeError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for volume in volumes(pod) {
        let path = folder.join(&volume.name);
        if let Some(source) = &volume.config_map {
            let files = config_map_files(volume, source, namespace, config_maps)?;
            write_files(&path, &files)?;
        } else if volume.empty_dir.is_some() || volume.projected.is_some() {
            // API servers add a projected volume with a token for the API to every pod; nothing here reads it.
            fs::create_dir_all(&path).map_err(file_error(&path))?;
        } else if volume.host_path.is_none() {
            return Err(VolumeError::Unsupported { volume: volume.name.clone() });
        }
    }
    Ok(())
}

/// What a container wants mounted.
pub(crate) fn mounts(pod: &Pod, container: &Container, folder: &Path) -> Result<Vec<Mount>, VolumeError> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes(pod)
            .find(|volume| volume.name == mount.name)
            .ok_or_else(|| VolumeError::Unknown { volume: mount.name.clone() })?;
        let root = match &volume.host_path {
            Some(host) => PathBuf::from(&host.path),
            None => folder.join(&volume.name),
        };
        let sub_path = mount.sub_path.as_deref().unwrap_or_default();
        let source = root.join(inside(&volume.name, sub_path)?);
        // Collecting the components takes a closing slash away.
        mounts.push(Mount { source, target: Path::new(&mount.mount_path).components().collect() });
    }
    Ok(mounts)
}

/// The folder that a web server serves: what is mounted at [`WEB_ROOT`]; else one made below `folder` from what is
/// mounted further down; else one with a page that says so.
pub(crate) fn web_root(mounts: &[Mount], folder: &Path, container: &str) -> Result<PathBuf, VolumeError> {
    if let Some(mount) = mounts.iter().find(|mount| mount.target == Path::new(WEB_ROOT)) {
        return Ok(mount.source.clone());
    }
    // No volume has such a name: names of volumes are DNS labels.
    let root = folder.join(format!(".web-{container}"));
    fs::create_dir_all(&root).map_err(file_error(&root))?;
    let mut is_empty = true;
    for mount in mounts {
        let Ok(relative) = mount.target.strip_prefix(WEB_ROOT) else { continue };
        let link = root.join(relative);
        let made =
            link.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| match symlink(&mount.source, &link) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                result => result,
            });
        made.map_err(file_error(&link))?;
        is_empty = false;
    }
    if is_empty {
        let page = root.join("index.html");
        fs::write(&page, DEFAULT_PAGE).map_err(file_error(&page))?;
    }
    Ok(root)
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// The files of a config map volume by relative path.
fn config_map_files(
    volume: &Volume,
    source: &ConfigMapVolumeSource,
    namespace: &str,
    config_maps: &ConfigMaps,
) -> Result<BTreeMap<PathBuf, Vec<u8>>, VolumeError> {
    let optional = source.optional.unwrap_or(false);
    let Some(config_map) = config_maps.get(&(namespace.to_owned(), source.name.clone())) else {
        let (volume, name) = (volume.name.clone(), source.name.clone());
        let missing = VolumeError::NoConfigMap { volume, namespace: namespace.to_owned(), name };
        return if optional { Ok(BTreeMap::new()) } else { Err(missing) };
    };
    let text = config_map.data.iter().flatten().map(|(key, value)| (key, value.as_bytes()));
    let binary = config_map.binary_data.iter().flatten().map(|(key, ByteString(value))| (key, value.as_slice()));
    let values: BTreeMap<&String, &[u8]> = text.chain(binary).collect();
    let Some(items) = &source.items else {
        // Keys are checked by the API server to be plain file names.
        return values.into_iter().map(|(key, value)| Ok((inside(&volume.name, key)?, value.to_vec()))).collect();
    };
    let mut files = BTreeMap::new();
    for item in items {
        match values.get(&item.key) {
            Some(value) => {
                files.insert(inside(&volume.name, &item.path)?, value.to_vec());
            }
            None if optional => {}
            None => {
                let (volume, name, key) = (volume.name.clone(), source.name.clone(), item.key.clone());
                return Err(VolumeError::NoKey { volume, name, key });
            }
        }
    }
    Ok(files)
}

/// A relative path that stays inside of its volume.
fn inside(volume: &str, path: &str) -> Result<PathBuf, VolumeError> {
    let relative = Path::new(path);
    if relative.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir)) {
        Ok(relative.to_owned())
    } else {
        Err(VolumeError::Path { volume: volume.to_owned(), path: path.to_owned() })
    }
}

/// Makes the folder hold exactly `files`. What is already right is not touched.
fn write_files(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<(), VolumeError> {
    fs::create_dir_all(folder).map_err(file_error(folder))?;
    for (relative, content) in files {
        let path = folder.join(relative);
        if fs::read(&path).is_ok_and(|present| present == *content) {
            continue;
        }
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".unfinished");
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&unfinished, content))
            .and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(file_error(&path))?;
    }
    remove_others(folder, Path::new(""), files).map_err(file_error(folder))
}

fn remove_others(folder: &Path, below: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let relative = below.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            if !files.contains_key(&relative) {
                fs::remove_file(entry.path())?;
            }
        } else if files.keys().any(|file| file.starts_with(&relative)) {
            remove_others(folder, &relative, files)?;
        } else {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::File { path, source }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(config_map: serde_json::Value, mount: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": "rebel-base-1"},
            "spec": {
                "volumes": [{"name": "html", "configMap": config_map}, {"name": "scratch", "emptyDir": {}}],
                "containers": [{"name": "web", "image": "nginx", "volumeMounts": [mount]}],
            },
        }))
        .expect("a pod")
    }

    fn config_maps(data: serde_json::Value) -> ConfigMaps {
        let config_map = serde_json::from_value(json!({"metadata": {"name": "page"}, "data": data}));
        BTreeMap::from([(("default".into(), "page".into()), config_map.expect("a config map"))])
    }

    fn root_of(pod: &Pod, folder: &Path) -> PathBuf {
        let container = &pod.spec.as_ref().expect("a spec").containers[0];
        web_root(&mounts(pod, container, folder).expect("mounts"), folder, "web").expect("a root")
    }

    #[test]
    fn config_maps_become_files_and_follow_changes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pod = pod(json!({"name": "page"}), json!({"name": "html", "mountPath": "/usr/share/nginx/html/"}));
        materialise(&pod, folder.path(), &config_maps(json!({"index.html": "a", "old": "x"}))).expect("made");
        let root = root_of(&pod, folder.path());
        assert_eq!(root, folder.path().join("html"));
        assert_eq!(fs::read_to_string(root.join("index.html")).expect("text"), "a");
        materialise(&pod, folder.path(), &config_maps(json!({"index.html": "b"}))).expect("made");
        assert_eq!(fs::read_to_string(root.join("index.html")).expect("text"), "b");
        assert!(!root.join("old").exists(), "keys that are gone are files that are gone");
        assert!(folder.path().join("scratch").is_dir());
    }

    #[test]
    fn items_and_sub_paths_choose() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = json!({"name": "page", "items": [{"key": "message", "path": "deep/index.html"}]});
        let pod = pod(source, json!({"name": "html", "mountPath": "/usr/share/nginx/html", "subPath": "deep"}));
        materialise(&pod, folder.path(), &config_maps(json!({"message": "a", "other": "x"}))).expect("made");
        let files: Vec<_> = fs::read_dir(root_of(&pod, folder.path())).expect("a folder").collect();
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn a_single_file_below_the_web_root_is_served() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = "/usr/share/nginx/html/index.html";
        let pod = pod(json!({"name": "page"}), json!({"name": "html", "mountPath": target, "subPath": "a"}));
        materialise(&pod, folder.path(), &config_maps(json!({"a": "the page"}))).expect("made");
        let root = root_of(&pod, folder.path());
        assert_eq!(fs::read_to_string(root.join("index.html")).expect("text"), "the page");
        assert_eq!(root_of(&pod, folder.path()), root, "again for a restart");
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mount = json!({"name": "html", "mountPath": "/x", "subPath": "../.."});
        let pod = pod(json!({"name": "page", "items": [{"key": "k", "path": "k"}]}), mount);
        let error = |config_maps| materialise(&pod, folder.path(), &config_maps).expect_err("missing").to_string();
        assert_eq!(error(ConfigMaps::new()), "config map `default/page` of volume `html` is not there");
        assert_eq!(error(config_maps(json!({}))), "config map `page` of volume `html` has no key `k`");
        let container = &pod.spec.as_ref().expect("a spec").containers[0];
        let error = mounts(&pod, container, folder.path()).expect_err("it leads out").to_string();
        assert_eq!(error, "path `../..` in volume `html` leads out of it");
    }
}
