//! Carries images in and out: save, load, import.
