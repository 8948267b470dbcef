//! Filled with the store.
