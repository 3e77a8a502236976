//! The swarm.
