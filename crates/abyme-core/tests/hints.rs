//! What the compiler says where a value of the wrong type is passed.

#[test]
fn hints() {
    trybuild::TestCases::new().compile_fail("tests/hints/*.rs");
}
