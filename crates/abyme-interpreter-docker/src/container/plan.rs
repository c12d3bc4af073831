//! The request that makes a container: everything is closed that Python can run without.

use std::collections::HashMap;

use abyme_driver::{Owner, python::BOOT};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, ResourcesUlimits,
};

use super::owner;
use crate::{claim::Claim, config::Config, image::Image};

/// The working directory of the code, and its home.
const WORK: &str = "/work";
const TMP: &str = "/tmp";
/// The directory of locks and shared memory of `multiprocessing`.
const SHARED: &str = "/dev/shm";

/// The first lines of the program that Python is started with. An old Python cannot read the driver, and says
/// so.
const VERSION_CHECK: &str = "import sys
if sys.version_info < (3, 9):
    sys.exit('abyme: too old: %d.%d.%d' % sys.version_info[:3])
";

/// A container whose Python runs the driver.
pub(crate) fn container(config: &Config, owner: &Owner, name: &str, image: &Image) -> ContainerCreateBody {
    ContainerCreateBody {
        hostname: Some("abyme".to_owned()),
        user: config.user_and_group().map(|(user, group)| format!("{user}:{group}")),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        open_stdin: Some(true),
        stdin_once: Some(true),
        env: Some(environment(config)),
        // The image's own entry point and health check are its programs: they do not run.
        entrypoint: Some(vec![config.python.clone()]),
        cmd: Some(vec!["-I".to_owned(), "-c".to_owned(), format!("{VERSION_CHECK}{BOOT}")]),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        image: Some(image.id.clone()),
        working_dir: Some(WORK.to_owned()),
        network_disabled: Some(config.network.is_none()),
        labels: Some(owner::labels(owner, name).into_iter().chain(Claim::of(config).labels()).collect()),
        host_config: Some(host_config(config, &image.volumes)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(config: &Config, volumes: &[String]) -> HostConfig {
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
        // As much as the memory, so that nothing is swapped.
        memory_swap: memory,
        nano_cpus: config.cpus.map(|cpus| (cpus * 1e9) as i64),
        pids_limit: config.max_processes.map(i64::from),
        ulimits: Some(ulimits(config)),
        tmpfs: Some(tmpfs(config)),
        mounts: Some(mounts(config, volumes)),
        runtime: config.runtime.clone(),
        ..HostConfig::default()
    }
}

/// The engine takes signed numbers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn environment(config: &Config) -> Vec<String> {
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

fn ulimits(config: &Config) -> Vec<ResourcesUlimits> {
    let mut limits = vec![("core", 0), ("nofile", config.max_open_files)];
    if let Some(bytes) = config.memory_limit_bytes {
        // A process's request is refused a little before the memory is full: a `MemoryError` and not a kill.
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

/// The directories where code may write: in memory, limited in size, and without programs.
fn tmpfs(config: &Config) -> HashMap<String, String> {
    let own = config
        .user_and_group()
        .map(|(user, group)| format!("uid={user},gid={group},mode=0755"))
        .unwrap_or_default();
    let directory = |path: &str, size: u64, own: &str| {
        (path.to_owned(), format!("rw,noexec,nosuid,nodev,size={size},{own}"))
    };
    let mut directories = HashMap::from([
        directory(TMP, config.tmp_limit_bytes, "mode=1777"),
        directory(WORK, config.work_limit_bytes, &own),
    ]);
    if config.shm_limit_bytes > 0 {
        directories.extend([directory(SHARED, config.shm_limit_bytes, "mode=1777")]);
    }
    directories
}

fn mounts(config: &Config, volumes: &[String]) -> Vec<Mount> {
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
    // Without this an image's volumes would be directories on the engine's disk, writable and without a
    // limit.
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
    use crate::config::Bind;

    fn planned(config: &Config) -> (ContainerCreateBody, HostConfig) {
        let volumes = vec!["/data".to_owned(), "/tmp".to_owned()];
        let image = Image { id: "sha256:1".to_owned(), volumes };
        let body = container(config, &Owner::this(), "abyme-1", &image);
        let host_config = body.host_config.clone().unwrap();
        (body, host_config)
    }

    #[test]
    fn everything_is_shut_by_default() {
        let (body, host_config) = planned(&Config::default());
        assert_eq!(body.user.as_deref(), Some("65534:65534"));
        assert_eq!(body.network_disabled, Some(true));
        assert_eq!(host_config.network_mode.as_deref(), Some("none"));
        assert_eq!(host_config.readonly_rootfs, Some(true));
        assert_eq!(host_config.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host_config.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!(host_config.ipc_mode.as_deref(), Some("none"));
        assert_eq!((host_config.memory, host_config.memory_swap), (Some(512 << 20), Some(512 << 20)));
        assert_eq!((host_config.nano_cpus, host_config.pids_limit), (Some(1_000_000_000), Some(128)));
        assert_eq!((host_config.auto_remove, host_config.init), (Some(true), Some(true)));
        assert_eq!(host_config.log_config.unwrap().typ.as_deref(), Some("none"));
        let tmpfs = host_config.tmpfs.unwrap();
        assert_eq!(tmpfs["/work"], "rw,noexec,nosuid,nodev,size=67108864,uid=65534,gid=65534,mode=0755");
        for path in ["/tmp", "/dev/shm"] {
            assert_eq!(tmpfs[path], "rw,noexec,nosuid,nodev,size=67108864,mode=1777");
        }
        assert_eq!(body.healthcheck.unwrap().test, Some(vec!["NONE".to_owned()]));
    }

    #[test]
    fn volumes_of_the_image_stay_in_memory() {
        let (_, host_config) = planned(&Config::default());
        let mounts = host_config.mounts.unwrap();
        assert_eq!(mounts.len(), 1, "/tmp is in memory anyway");
        assert_eq!((mounts[0].typ, mounts[0].target.as_deref()), (Some(MountType::TMPFS), Some("/data")));
    }

    #[test]
    fn what_is_opened_is_opened() {
        let bind = |host: &str, container: &str, writable| Bind {
            host: host.into(),
            container: container.to_owned(),
            writable,
        };
        let config = Config {
            network: Some("bridge".to_owned()),
            mounts: vec![bind("/srv/docs", "/docs", false), bind("/srv/out", "/out", true)],
            env: [("GIVEN".to_owned(), "yes".to_owned())].into(),
            user: "7".to_owned(),
            runtime: Some("runsc".to_owned()),
            shm_limit_bytes: 0,
            memory_limit_bytes: None,
            ulimits: [("nofile".to_owned(), 77)].into(),
            ..Config::default()
        };
        let (body, host_config) = planned(&config);
        assert_eq!(
            (body.network_disabled, host_config.network_mode.as_deref()),
            (Some(false), Some("bridge"))
        );
        assert!(body.env.unwrap().contains(&"GIVEN=yes".to_owned()));
        let mounts = host_config.mounts.unwrap();
        assert_eq!((mounts[0].read_only, mounts[1].read_only), (Some(true), Some(false)));
        let tmpfs = host_config.tmpfs.unwrap();
        assert!(tmpfs["/work"].contains("uid=7,gid=7") && !tmpfs.contains_key("/dev/shm"));
        assert_eq!(body.user.as_deref(), Some("7:7"));
        assert_eq!(host_config.runtime.as_deref(), Some("runsc"));
        assert_eq!((host_config.memory, host_config.memory_swap), (None, None));
        let limits = host_config.ulimits.unwrap();
        let of = |name: &str| limits.iter().find(|limit| limit.name.as_deref() == Some(name)).cloned();
        assert_eq!(of("nofile").unwrap().hard, Some(77));
        assert_eq!(of("data"), None);
    }

    #[test]
    fn an_old_python_says_so() {
        assert!(VERSION_CHECK.contains(super::super::exit::TOO_OLD));
    }
}
