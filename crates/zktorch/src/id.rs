//! Identities of models.

use serde::{Deserialize, Serialize};

/// Identity of a set-up model: a hash of the verifying key (program, tables, parameter commitments) and of the names, shapes, scales and
/// visibilities of its inputs and outputs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelId([u8; 32]);

impl ModelId {
    pub(crate) fn new(key_digest: &[u8; 32], info: &[u8]) -> ModelId {
        let mut hasher = blake3::Hasher::new_derive_key("zktorch model id v1");
        hasher.update(key_digest);
        hasher.update(info);
        ModelId(*hasher.finalize().as_bytes())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(16).collect()
    }

    /// Whether `text` is this id, or its first 16 or more digits.
    pub fn matches(&self, text: &str) -> bool {
        text.len() >= 16 && self.to_string().starts_with(&text.to_ascii_lowercase())
    }
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_matches_itself_and_long_prefixes() {
        let id = ModelId::new(&[1; 32], b"info");
        let text = id.to_string();
        assert!(id.matches(&text) && id.matches(&text.to_uppercase()) && id.matches(&text[..16]));
        assert!(!id.matches(&text[..15]) && !id.matches(&format!("{text}0")) && !id.matches(""));
        assert_ne!(id, ModelId::new(&[1; 32], b"other"));
    }
}
