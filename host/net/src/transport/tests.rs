//! Who somebody is, and with which cipher it is said.
