//! Who asks, and what they may.

/// What a token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Looking.
    Read,
    /// Looking, and changing what an operator changes.
    Operate,
}

impl Scope {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }

    /// The scope of that word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Read, Self::Operate].into_iter().find(|scope| scope.word() == word)
    }
}

/// Where a connection comes from, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A Unix socket, from a process of the server's user or of root.
    Owner,
    /// A Unix socket, from somebody else of this machine.
    OtherUser,
    /// This machine, over the loopback interface.
    Loopback,
    /// Anywhere else.
    Remote,
}

/// What an endpoint needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: what it tells without a right is what everybody may know.
    Nothing,
    /// The right to look, which everybody of this machine's loopback has.
    Look,
    /// The right to look at what may be private: log lines, settings.
    LookInside,
    /// The right to change.
    Change,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// They have to say who they are.
    NoToken,
    /// Nobody knows their token.
    WrongToken,
    /// Their token is for looking only.
    ScopeTooSmall,
}

/// What a token that was brought is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// There was none.
    Nothing,
    /// One that nobody knows.
    Wrong,
    /// One with this scope.
    Right(Scope),
}

/// Whether somebody may.
///
/// # Errors
/// Why not.
pub fn may(need: Need, from: From, brought: Brought) -> Result<(), Denied> {
    let scope = match (brought, from) {
        // Probes are answered whatever they bring: that of a proxy, or of yesterday.
        (Brought::Wrong, _) if need == Need::Nothing => return Ok(()),
        // Whoever brings a wrong one is told, also where they need none: they believe it is right.
        (Brought::Wrong, _) => return Err(Denied::WrongToken),
        (_, From::Owner) => Some(Scope::Operate),
        (Brought::Right(scope), _) => Some(scope),
        (Brought::Nothing, From::OtherUser | From::Loopback | From::Remote) => None,
    };
    let is_here = matches!(from, From::Owner | From::Loopback);
    match need {
        Need::Nothing => Ok(()),
        Need::Look if is_here || scope.is_some() => Ok(()),
        Need::LookInside if scope.is_some() => Ok(()),
        Need::Change if scope == Some(Scope::Operate) => Ok(()),
        Need::Change if scope.is_some() => Err(Denied::ScopeTooSmall),
        Need::Look | Need::LookInside | Need::Change => Err(Denied::NoToken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_is_open_to_this_machine_and_changing_to_the_owner_and_to_tokens() {
        let none = Brought::Nothing;
        assert_eq!(may(Need::Look, From::Loopback, none), Ok(()));
        assert_eq!(may(Need::Look, From::Owner, none), Ok(()));
        assert_eq!(may(Need::Look, From::OtherUser, none), Err(Denied::NoToken));
        assert_eq!(may(Need::Look, From::Remote, none), Err(Denied::NoToken));
        assert_eq!(may(Need::LookInside, From::Loopback, none), Err(Denied::NoToken));
        assert_eq!(may(Need::Change, From::Loopback, none), Err(Denied::NoToken));
        assert_eq!(may(Need::Change, From::Owner, none), Ok(()));
        assert_eq!(may(Need::Nothing, From::Remote, none), Ok(()));
    }

    #[test]
    fn a_token_gives_what_its_scope_says_wherever_it_is_brought() {
        for from in [From::OtherUser, From::Loopback, From::Remote] {
            let (read, operate) = (Brought::Right(Scope::Read), Brought::Right(Scope::Operate));
            assert_eq!(may(Need::LookInside, from, read), Ok(()));
            assert_eq!(may(Need::Change, from, read), Err(Denied::ScopeTooSmall));
            assert_eq!(may(Need::Change, from, operate), Ok(()));
            assert_eq!(may(Need::Look, from, Brought::Wrong), Err(Denied::WrongToken));
            assert_eq!(may(Need::Nothing, from, Brought::Wrong), Ok(()));
        }
    }
}
