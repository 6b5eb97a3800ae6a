//! Texts that must never be printed.

/// A secret. It has no `Debug`, no `Display` and no `Serialize`: whoever wants the text asks for it by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text: for signing, comparing in constant time, and the provider's own requests only.
    pub fn expose(&self) -> &str {
        &self.0
    }
    /// The text's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
