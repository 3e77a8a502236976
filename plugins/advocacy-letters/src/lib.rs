//! An advocacy module: letters to companies and representatives
