//! The shared conformance suite over the Docker backend.

use abyme_conformance::FactoryHarness;
use abyme_interpreter_docker::Docker;

fn docker() -> Docker {
    let mut docker = Docker::new();
    if let Ok(image) = std::env::var("ABYME_DOCKER_IMAGE") {
        docker = docker.image(image);
    }
    docker
}

abyme_conformance::interpreter_suite! {
    harness: FactoryHarness::new(docker()),
    xfail: []
}
