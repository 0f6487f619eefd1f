//! Is a graph refused that would lose events?
