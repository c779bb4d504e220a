//! What a worker may take of the machine, beyond the kernel's plain limits: who dies first when memory
//! runs out (`oom`), and control groups (`groups`).

pub mod groups;
pub mod oom;
