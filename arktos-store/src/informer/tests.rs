//! What an informer tells its handlers, whatever the source does.
