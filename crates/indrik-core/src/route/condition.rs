//! The conditions of a rule, and the request that they are held against.

use std::fmt;
use std::net::IpAddr;

use crate::settings::Network;

/// A request, as far as rules look at it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// As sent.
    pub method: &'a str,
    /// `Host` or `:authority`, perhaps with a port; empty if there is none.
    pub host: &'a [u8],
    /// As sent, without the query.
    pub path: &'a str,
    /// Who sent it; `None` by a Unix socket.
    pub client: Option<IpAddr>,
    /// Its header fields.
    pub fields: &'a dyn Values,
}

/// The header fields of a request.
pub trait Values {
    /// Whether one of the values of this name (in lower case) is so.
    fn any(&self, name: &str, is: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// No fields.
impl Values for () {
    fn any(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

impl<'a> Request<'a> {
    /// One that nothing else is known of.
    #[must_use]
    pub const fn new(method: &'a str, host: &'a [u8], path: &'a str) -> Self {
        Self { method, host, path, client: None, fields: &() }
    }
}

/// Conditions, all of which must hold; what is absent or empty holds for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The host.
    pub host: Option<HostIs>,
    /// The path.
    pub path: Option<PathIs>,
    /// One of these, with the case they have.
    pub methods: Vec<String>,
    /// All of these.
    pub fields: Vec<Field>,
    /// One of these. A client without an address (a Unix socket's) is in none of them.
    pub clients: Vec<Network>,
}

impl Conditions {
    /// Only a path.
    #[must_use]
    pub fn path(path: PathIs) -> Self {
        Self { path: Some(path), ..Self::default() }
    }

    /// Whether all hold.
    #[must_use]
    pub fn hold(&self, request: &Request<'_>) -> bool {
        let is_in = |client: IpAddr| self.clients.iter().any(|network| network.contains(client));
        self.path.as_ref().is_none_or(|path| path.is(request.path))
            && (self.methods.is_empty() || self.methods.iter().any(|it| it == request.method))
            && self.host.as_ref().is_none_or(|host| host.is(request.host))
            && (self.clients.is_empty() || request.client.is_some_and(is_in))
            && self.fields.iter().all(|field| field.is(request.fields))
    }
}

/// The hosts that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostIs {
    /// This name.
    Exactly(String),
    /// A name that ends with a dot and this one.
    Under(String),
}

impl HostIs {
    /// A name has no case, and a port does not belong to it.
    fn is(&self, host: &[u8]) -> bool {
        let end = match host.first() {
            Some(b'[') => memchr::memchr(b']', host).map_or(host.len(), |at| at + 1),
            _ => memchr::memchr(b':', host).unwrap_or(host.len()),
        };
        let name = &host[..end];
        match self {
            Self::Exactly(wanted) => name.eq_ignore_ascii_case(wanted.as_bytes()),
            Self::Under(wanted) => name.len().checked_sub(wanted.len() + 1).is_some_and(|dot| {
                name[dot] == b'.' && name[dot + 1..].eq_ignore_ascii_case(wanted.as_bytes())
            }),
        }
    }
}

/// The paths that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathIs {
    /// This one, as the client writes it.
    Exactly(String),
    /// One that begins so. `%61` in the client's is an `a`, as for the application: otherwise a client
    /// could choose what it falls under.
    Below(String),
    /// One that consists of these pieces, with any characters between them, as the client writes it.
    Pieces(Vec<String>),
}

impl PathIs {
    /// A pattern, where `*` stands for any characters.
    #[must_use]
    pub fn like(pattern: &str) -> Self {
        match pattern.contains('*') {
            true => Self::Pieces(pattern.split('*').map(str::to_owned).collect()),
            false => Self::Exactly(pattern.to_owned()),
        }
    }

    fn is(&self, path: &str) -> bool {
        match self {
            Self::Exactly(wanted) => path == wanted,
            Self::Below(prefix) => begins_with(path, prefix),
            Self::Pieces(pieces) => consists_of(path, pieces),
        }
    }
}

fn consists_of(path: &str, pieces: &[String]) -> bool {
    let [first, middle @ .., last] = pieces else {
        return pieces.first().is_some_and(|only| only == path);
    };
    let Some(mut rest) = path.strip_prefix(first.as_str()) else { return false };
    // The leftmost place of each piece leaves the most for the next ones.
    for piece in middle {
        match rest.find(piece.as_str()) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

fn begins_with(path: &str, prefix: &str) -> bool {
    let mut rest = path.as_bytes();
    prefix.bytes().all(|wanted| {
        let (found, len) = match rest {
            [b'%', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [first, ..] => (*first, 1),
            [] => return false,
        };
        rest = &rest[len..];
        found == wanted
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A header field that is there, perhaps with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// In lower case.
    pub name: String,
    /// `None`: whatever it is.
    pub value: Option<Vec<u8>>,
}

impl Field {
    fn is(&self, fields: &dyn Values) -> bool {
        let wanted = self.value.as_deref();
        fields.any(&self.name, &mut |value| wanted.is_none_or(|wanted| wanted == value))
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        match &self.host {
            Some(HostIs::Exactly(name)) => words.push(format!("the host is {name}")),
            Some(HostIs::Under(name)) => words.push(format!("the host ends with .{name}")),
            None => {}
        }
        match &self.path {
            Some(PathIs::Exactly(path)) => words.push(format!("the path is {path}")),
            Some(PathIs::Below(path)) => words.push(format!("the path begins with {path}")),
            Some(PathIs::Pieces(pieces)) => {
                words.push(format!("the path is like {}", pieces.join("*")));
            }
            None => {}
        }
        if !self.methods.is_empty() {
            words.push(format!("the method is {}", self.methods.join(" or ")));
        }
        for field in &self.fields {
            words.push(match &field.value {
                Some(value) => format!("{} is {}", field.name, String::from_utf8_lossy(value)),
                None => format!("{} is there", field.name),
            });
        }
        if !self.clients.is_empty() {
            let networks: Vec<_> = self.clients.iter().map(ToString::to_string).collect();
            words.push(format!("the client is in {}", networks.join(" or ")));
        }
        f.write_str(&if words.is_empty() { "always".to_owned() } else { words.join(", and ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, path, is) in [
            ("/health", "/health", true),
            ("/health", "/health/", false),
            ("/static/*", "/static/", true),
            ("/static/*", "/static", false),
            ("*.css", "/a/b.css", true),
            ("/a*b*a", "/aba", true),
            ("/a*b*a", "/ab", false),
            ("/*a", "/", false),
            ("*", "", true),
            ("**", "/x", true),
        ] {
            assert_eq!(PathIs::like(pattern).is(path), is, "{pattern} {path}");
        }
    }

    #[test]
    fn escapes_do_not_hide_the_beginning_of_a_path() {
        let below = |path: &str| PathIs::Below("/reports".to_owned()).is(path);
        assert!(
            below("/reports") && below("/reports/1") && below("/%72eports") && below("/reportsx")
        );
        assert!(!below("/report") && !below("/%7reports") && !below("/%2freports"));
    }

    #[test]
    fn a_host_has_neither_case_nor_port() {
        let exactly = |host: &str| HostIs::Exactly("a.org".to_owned()).is(host.as_bytes());
        assert!(exactly("A.org") && exactly("a.org:80") && !exactly("b.a.org") && !exactly(""));
        let under = |host: &str| HostIs::Under("a.org".to_owned()).is(host.as_bytes());
        assert!(under("b.A.org:80") && !under("a.org") && !under("ba.org") && !under(""));
        assert!(HostIs::Exactly("[::1]".to_owned()).is(b"[::1]:80"));
    }

    #[test]
    fn conditions_are_told_in_words() {
        let conditions = Conditions {
            host: Some(HostIs::Under("a.org".into())),
            path: Some(PathIs::like("/a*")),
            methods: vec!["GET".into(), "PUT".into()],
            fields: vec![Field { name: "x-a".into(), value: None }],
            clients: vec!["10.0.0.0/8".parse().unwrap()],
        };
        let text = "the host ends with .a.org, and the path is like /a*, and the method is GET or PUT, \
            and x-a is there, and the client is in 10.0.0.0/8";
        assert_eq!(conditions.to_string(), text);
        assert_eq!(Conditions::default().to_string(), "always");
    }
}
