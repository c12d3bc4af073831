//! What the engine is asked for: a container with everything shut that Python runs without.

use std::collections::HashMap;

use abyme_core::{Error, ErrorKind, Result};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, ResourcesUlimits,
};

use crate::{DockerConfig, image::Image, owner::Owner};

/// Where code runs, and its home.
const WORK: &str = "/work";
const TMP: &str = "/tmp";
/// Where locks and shared memory of `multiprocessing` are.
const SHARED: &str = "/dev/shm";

/// The first lines of what Python is started with: an old one cannot read the driver, and shall say so.
const VERSION_CHECK: &str = "import sys
if sys.version_info < (3, 9):
    sys.exit('abyme: too old: %d.%d.%d' % sys.version_info[:3])
";

/// A container whose Python runs `program`.
pub(crate) fn container(
    config: &DockerConfig,
    owner: &Owner,
    name: &str,
    image: &Image,
    program: &str,
) -> ContainerCreateBody {
    ContainerCreateBody {
        hostname: Some("abyme".to_owned()),
        user: user(config).map(|(user, group)| format!("{user}:{group}")),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        open_stdin: Some(true),
        stdin_once: Some(true),
        env: Some(environment(config)),
        // Its own entry point and its own check of health are the image's programs.
        entrypoint: Some(vec![config.python.clone()]),
        cmd: Some(vec!["-I".to_owned(), "-c".to_owned(), format!("{VERSION_CHECK}{program}")]),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        image: Some(image.id.clone()),
        working_dir: Some(WORK.to_owned()),
        network_disabled: Some(config.network.is_none()),
        labels: Some(owner.labels(name)),
        host_config: Some(walls(config, &image.volumes)),
        ..ContainerCreateBody::default()
    }
}

fn walls(config: &DockerConfig, volumes: &[String]) -> HostConfig {
    let memory = config.memory_limit_bytes.map(signed);
    HostConfig {
        auto_remove: Some(true),
        init: Some(config.init),
        network_mode: Some(config.network.clone().unwrap_or_else(|| "none".to_owned())),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        privileged: Some(false),
        ipc_mode: Some("none".to_owned()),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        memory,
        // The same as the memory: nothing is swapped.
        memory_swap: memory,
        nano_cpus: config.cpus.map(|cpus| (cpus * 1e9) as i64),
        pids_limit: config.max_processes.map(i64::from),
        ulimits: Some(ulimits(config)),
        tmpfs: Some(own_files(config)),
        mounts: Some(mounts(config, volumes)),
        runtime: config.runtime.clone(),
        ..HostConfig::default()
    }
}

/// The engine takes signed numbers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn environment(config: &DockerConfig) -> Vec<String> {
    let mut all = vec![
        ("HOME".to_owned(), WORK.to_owned()),
        ("TMPDIR".to_owned(), TMP.to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ];
    let allowed = config.env_allow.iter();
    all.extend(allowed.filter_map(|name| std::env::var(name).ok().map(|value| (name.clone(), value))));
    all.extend(config.env.clone());
    // Of several values of a name the engine takes the last.
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn ulimits(config: &DockerConfig) -> Vec<ResourcesUlimits> {
    let mut limits = vec![("core", 0), ("nofile", config.max_open_files)];
    if let Some(bytes) = config.memory_limit_bytes {
        // What a process asks for is refused a little before its memory is full: a `MemoryError`, not a kill.
        limits.push(("data", bytes - bytes / 16));
    }
    let given = |name: &str| config.ulimits.contains_key(name);
    limits.retain(|(name, _)| !given(name));
    limits.extend(config.ulimits.iter().map(|(name, limit)| (name.as_str(), *limit)));
    let ulimit = |(name, limit): (&str, u64)| {
        let limit = Some(signed(limit));
        ResourcesUlimits { name: Some(name.to_owned()), soft: limit, hard: limit }
    };
    limits.into_iter().map(ulimit).collect()
}

/// The places where code may write: in memory, sized, and no programs.
fn own_files(config: &DockerConfig) -> HashMap<String, String> {
    let own =
        user(config).map(|(user, group)| format!("uid={user},gid={group},mode=0755")).unwrap_or_default();
    let place = |path: &str, size: u64, own: &str| {
        (path.to_owned(), format!("rw,noexec,nosuid,nodev,size={size},{own}"))
    };
    let mut places = HashMap::from([
        place(TMP, config.tmp_limit_bytes, "mode=1777"),
        place(WORK, config.work_limit_bytes, &own),
    ]);
    if config.shm_limit_bytes > 0 {
        places.extend([place(SHARED, config.shm_limit_bytes, "mode=1777")]);
    }
    places
}

/// Who the code runs as: numbers, for what a name means is known in the image only.
fn user(config: &DockerConfig) -> Option<(u32, u32)> {
    let (user, group) = config.user.split_once(':').unwrap_or((&config.user, &config.user));
    Some((user.parse().ok()?, group.parse().ok()?))
}

/// Whether a configuration can work, as far as can be told without an engine.
///
/// # Errors
/// [`ErrorKind::Config`] for what cannot.
pub(crate) fn check(config: &DockerConfig) -> Result<()> {
    let refused = |what: String| Err(Error::new(ErrorKind::Config, what));
    if user(config).is_none() {
        let given = &config.user;
        return refused(format!("`{given}` is no user to run as: give numbers, as in `65534:65534`"));
    }
    if config.cpus.is_some_and(|cpus| !(cpus >= 0.01 && cpus.is_finite())) {
        return refused("`cpus` is to be 0.01 or more".to_owned());
    }
    if let Some(bind) = config.mounts.iter().find(|bind| !bind.container.starts_with('/')) {
        return refused(format!("`{}` is no place for a mount: give an absolute path", bind.container));
    }
    Ok(())
}

fn mounts(config: &DockerConfig, volumes: &[String]) -> Vec<Mount> {
    let binds = config.mounts.iter().map(|bind| Mount {
        typ: Some(MountType::BIND),
        source: Some(bind.host.display().to_string()),
        target: Some(bind.container.clone()),
        read_only: Some(!bind.writable),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    });
    let taken = |path: &str| {
        [WORK, TMP, SHARED].contains(&path) || config.mounts.iter().any(|bind| bind.container == path)
    };
    // An image's volumes would be directories on the engine's disk, writable and without a limit.
    let volumes = volumes.iter().filter(|path| !taken(path)).map(|path| Mount {
        typ: Some(MountType::TMPFS),
        target: Some(path.clone()),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(signed(config.tmp_limit_bytes)),
            mode: Some(0o1777),
            ..MountTmpfsOptions::default()
        }),
        ..Mount::default()
    });
    binds.chain(volumes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(config: &DockerConfig) -> (ContainerCreateBody, HostConfig) {
        let volumes = vec!["/data".to_owned(), "/tmp".to_owned()];
        let image = Image { id: "sha256:1".to_owned(), volumes };
        let body = container(config, &Owner::this(), "abyme-1", &image, "pass");
        let walls = body.host_config.clone().unwrap();
        (body, walls)
    }

    #[test]
    fn everything_is_shut_by_default() {
        let (body, walls) = planned(&DockerConfig::default());
        assert_eq!(body.user.as_deref(), Some("65534:65534"));
        assert_eq!(body.network_disabled, Some(true));
        assert_eq!(walls.network_mode.as_deref(), Some("none"));
        assert_eq!(walls.readonly_rootfs, Some(true));
        assert_eq!(walls.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(walls.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!(walls.ipc_mode.as_deref(), Some("none"));
        assert_eq!((walls.memory, walls.memory_swap), (Some(512 << 20), Some(512 << 20)));
        assert_eq!((walls.nano_cpus, walls.pids_limit), (Some(1_000_000_000), Some(128)));
        assert_eq!((walls.auto_remove, walls.init), (Some(true), Some(true)));
        assert_eq!(walls.log_config.unwrap().typ.as_deref(), Some("none"));
        let tmpfs = walls.tmpfs.unwrap();
        assert_eq!(tmpfs["/work"], "rw,noexec,nosuid,nodev,size=67108864,uid=65534,gid=65534,mode=0755");
        for path in ["/tmp", "/dev/shm"] {
            assert_eq!(tmpfs[path], "rw,noexec,nosuid,nodev,size=67108864,mode=1777");
        }
        assert_eq!(body.healthcheck.unwrap().test, Some(vec!["NONE".to_owned()]));
    }

    #[test]
    fn volumes_of_the_image_stay_in_memory() {
        let (_, walls) = planned(&DockerConfig::default());
        let mounts = walls.mounts.unwrap();
        assert_eq!(mounts.len(), 1, "/tmp is in memory anyway");
        assert_eq!((mounts[0].typ, mounts[0].target.as_deref()), (Some(MountType::TMPFS), Some("/data")));
    }

    #[test]
    fn what_is_opened_is_opened() {
        let config = DockerConfig::new()
            .network("bridge")
            .mount("/srv/docs", "/docs")
            .mount_writable("/srv/out", "/out")
            .env("GIVEN", "yes")
            .user("7")
            .runtime("runsc")
            .shm_limit_bytes(0)
            .memory_limit_bytes(None)
            .ulimit("nofile", 77);
        let (body, walls) = planned(&config);
        assert_eq!((body.network_disabled, walls.network_mode.as_deref()), (Some(false), Some("bridge")));
        assert!(body.env.unwrap().contains(&"GIVEN=yes".to_owned()));
        let mounts = walls.mounts.unwrap();
        assert_eq!((mounts[0].read_only, mounts[1].read_only), (Some(true), Some(false)));
        let tmpfs = walls.tmpfs.unwrap();
        assert!(tmpfs["/work"].contains("uid=7,gid=7") && !tmpfs.contains_key("/dev/shm"));
        assert_eq!(body.user.as_deref(), Some("7:7"));
        assert_eq!(walls.runtime.as_deref(), Some("runsc"));
        assert_eq!((walls.memory, walls.memory_swap), (None, None));
        let limits = walls.ulimits.unwrap();
        let of = |name: &str| limits.iter().find(|limit| limit.name.as_deref() == Some(name)).cloned();
        assert_eq!(of("nofile").unwrap().hard, Some(77));
        assert_eq!(of("data"), None);
    }

    #[test]
    fn an_old_python_says_so() {
        assert!(VERSION_CHECK.contains(crate::problem::TOO_OLD));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        assert!(check(&DockerConfig::default()).is_ok());
        let refused = |config: DockerConfig| check(&config).unwrap_err().message().to_owned();
        assert!(refused(DockerConfig::new().user("app")).contains("`app` is no user"));
        assert!(refused(DockerConfig::new().cpus(0.0)).contains("`cpus`"));
        assert!(refused(DockerConfig::new().mount("/a", "a")).contains("absolute path"));
    }
}
