//! The algebraic program that zktorch proves: heap, views, einsum identities, lookups.
