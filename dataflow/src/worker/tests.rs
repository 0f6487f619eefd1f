//! Does a group write what it read, once, and end when it fails?
