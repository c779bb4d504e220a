//! Prints docs/reference/settings.md; `cargo xtask settings` writes it there.

fn main() -> std::io::Result<()> {
    let page = indrik_core::settings::render::reference();
    std::io::Write::write_all(&mut std::io::stdout(), page.as_bytes())
}
