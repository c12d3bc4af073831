//! The shared conformance suite over the Docker backend.

use droste_conformance::FactoryHarness;
use droste_interpreter_docker::{DockerConfig, DockerFactory};

fn factory() -> DockerFactory {
    let mut config = DockerConfig::default();
    if let Ok(image) = std::env::var("DROSTE_DOCKER_IMAGE") {
        config = config.image(image);
    }
    DockerFactory::new(config)
}

droste_conformance::interpreter_suite! {
    harness: FactoryHarness::new(factory()),
    xfail: []
}
