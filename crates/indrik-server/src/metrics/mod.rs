//! What a scraper is told: the families of all sources, in the format it asks for.

mod answer;
mod complaints;
mod machine;
mod processes;
mod supervised;

pub(crate) use answer::{answer, counted, directories, disks};
pub(crate) use machine::families as families_of_machine;
