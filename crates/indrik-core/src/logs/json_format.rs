//! The access log as JSON: the same parts as a format of text, with JSON's syntax as the text.

use super::access_format::{Atom, Format, Part, Phase};
use super::json;

/// The fields that every line has.
const FIELDS: [(&str, Atom); 20] = [
    ("pid", Atom::Pid),
    ("client", Atom::Client),
    ("user", Atom::User),
    ("method", Atom::Method),
    ("path", Atom::Path),
    ("query", Atom::Query),
    ("route", Atom::Route),
    ("protocol", Atom::Protocol),
    ("status", Atom::Status),
    ("bytes", Atom::Bytes),
    ("duration_us", Atom::Microseconds),
    ("queue_us", Atom::Phase(Phase::Queue)),
    ("client_us", Atom::Phase(Phase::Client)),
    ("total_us", Atom::Phase(Phase::Total)),
    ("close_code", Atom::CloseCode),
    ("referer", Atom::Referer),
    ("user_agent", Atom::UserAgent),
    ("request_line", Atom::RequestLine),
    ("request_id", Atom::RequestId),
    ("trace_id", Atom::TraceId),
];

impl Format {
    /// The format of JSON lines: the fields that every line has, and the headers and variables that
    /// this format asks for.
    #[must_use]
    pub fn to_json(&self) -> Self {
        let mut builder = Builder::default();
        builder.text("{\"time\":");
        builder.atom(Atom::Time);
        builder.text(",\"log\":\"access\"");
        for (name, atom) in FIELDS {
            builder.field(",", name, atom);
        }
        let request = |atom: &Atom| match atom {
            Atom::RequestHeader(name) => Some(name.clone()),
            _ => None,
        };
        let response = |atom: &Atom| match atom {
            Atom::ResponseHeader(name) => Some(name.clone()),
            _ => None,
        };
        let variable = |atom: &Atom| match atom {
            Atom::Variable(name) => Some(name.clone()),
            _ => None,
        };
        builder.group("request_headers", self.atoms(), request);
        builder.group("response_headers", self.atoms(), response);
        builder.group("environ", self.atoms(), variable);
        builder.text("}");
        builder.end()
    }
}

/// Parts in the making.
#[derive(Default)]
struct Builder {
    parts: Vec<Part>,
    text: String,
}

impl Builder {
    fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn atom(&mut self, atom: Atom) {
        self.parts.push(Part::Text(std::mem::take(&mut self.text)));
        self.parts.push(Part::Atom(atom, None));
    }

    fn field(&mut self, before: &str, name: &str, atom: Atom) {
        let mut quoted = Vec::new();
        json::string(name.as_bytes(), &mut quoted);
        self.text(before);
        self.text(&String::from_utf8_lossy(&quoted));
        self.text(":");
        self.atom(atom);
    }

    /// An object of the atoms that `name_of` takes, each once; nothing if there are none.
    fn group<'a>(
        &mut self,
        group: &str,
        atoms: impl Iterator<Item = &'a Atom>,
        name_of: impl Fn(&Atom) -> Option<String>,
    ) {
        let mut seen: Vec<String> = Vec::new();
        for atom in atoms {
            let Some(name) = name_of(atom) else { continue };
            if seen.contains(&name) {
                continue;
            }
            if seen.is_empty() {
                self.text(&format!(",\"{group}\":{{"));
            }
            let before = if seen.is_empty() { "" } else { "," };
            self.field(before, &name, atom.clone());
            seen.push(name);
        }
        if !seen.is_empty() {
            self.text("}");
        }
    }

    fn end(mut self) -> Format {
        self.parts.push(Part::Text(self.text));
        Format(self.parts)
    }
}
