//! The one place where the program's TLS implementation is chosen: ring, which builds without cmake.

/// Makes ring the provider of the whole process. Must run before any HTTP client is built, and may run again.
pub fn install() {
    // An error says that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
