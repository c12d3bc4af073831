//! The licences of what is in the data.

/// What is in [`python_wasm`](crate::python_wasm) and [`stdlib_tar`](crate::stdlib_tar), each with its
/// licence in full.
///
/// A program that contains the data has to pass these on.
pub const LICENSES: &[(&str, &str)] = &[
    ("CPython", include_str!("../data/licenses/cpython.txt")),
    ("CPython, incorporated software", include_str!("../data/licenses/cpython-incorporated.txt")),
    ("BLAKE2", include_str!("../data/licenses/blake2.txt")),
    ("expat", include_str!("../data/licenses/expat.txt")),
    ("HACL*", include_str!("../data/licenses/hacl-star.txt")),
    ("libmpdec", include_str!("../data/licenses/libmpdec.txt")),
    ("zlib", include_str!("../data/licenses/zlib.txt")),
    ("wasi-libc", include_str!("../data/licenses/wasi-libc.txt")),
    ("wasi-libc, MIT", include_str!("../data/licenses/wasi-libc-mit.txt")),
    ("wasi-libc, Apache", include_str!("../data/licenses/wasi-libc-apache.txt")),
    ("wasi-libc, Apache with LLVM exceptions", include_str!("../data/licenses/wasi-libc-apache-llvm.txt")),
    ("wasi-libc, cloudlibc", include_str!("../data/licenses/wasi-libc-cloudlibc.txt")),
    ("wasi-libc, musl", include_str!("../data/licenses/wasi-libc-musl.txt")),
    ("Zig compiler-rt", include_str!("../data/licenses/zig-compiler-rt.txt")),
];

#[cfg(test)]
mod tests {
    use super::LICENSES;

    #[test]
    fn each_licence_is_there_once() {
        let words = [
            ("CPython", "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2"),
            ("CPython, incorporated software", "Mersenne Twister"),
            ("expat", "Expat maintainers"),
            ("HACL*", "INRIA"),
            ("libmpdec", "Stefan Krah"),
            ("zlib", "Jean-loup Gailly"),
            ("wasi-libc, musl", "Rich Felker"),
            ("Zig compiler-rt", "Zig contributors"),
        ];
        for (name, word) in words {
            let texts: Vec<_> = LICENSES.iter().filter(|(given, _)| *given == name).collect();
            assert!(texts.len() == 1 && texts[0].1.contains(word), "{name}");
        }
    }

    #[test]
    fn no_licence_in_the_data_is_left_out() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/licenses");
        for file in std::fs::read_dir(dir).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(LICENSES.iter().any(|(_, given)| *given == text), "{text}");
        }
    }
}
