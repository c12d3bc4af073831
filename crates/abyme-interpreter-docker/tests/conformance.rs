//! The shared conformance suite over the Docker backend.

use abyme_conformance::FactoryHarness;
use abyme_interpreter_docker::{DockerConfig, DockerFactory};

fn factory() -> DockerFactory {
    let mut config = DockerConfig::default();
    if let Ok(image) = std::env::var("ABYME_DOCKER_IMAGE") {
        config = config.image(image);
    }
    DockerFactory::new(config)
}

abyme_conformance::interpreter_suite! {
    harness: FactoryHarness::new(factory()),
    xfail: []
}
