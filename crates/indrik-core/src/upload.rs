//! What becomes of a request's body that comes in pieces, in the life of its request.
//!
//! An application may answer before it has read the body, ask for it only then, or end without having read it; its
//! worker may be lost, and another one begins with the body from its start; the client may wait to be asked for it
//! (`Expect: 100-continue`). [`Upload`] says what is to be done when, [`Kept`] which piece comes next. Whatever
//! happens in whatever order, an application that asks for the body gets it whole and in order, or its request ends.

/// What is to be done about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing.
    Nothing,
    /// It goes to the application, from its beginning.
    Send,
    /// The same, and nothing is kept of it: no other worker will have the request.
    SendOnce,
    /// It stays under way, and nothing more is kept of it.
    LetGo,
    /// There is nobody to send it to at the moment.
    Stop,
    /// The rest is read and thrown away: the next request comes behind it.
    Discard,
    /// Nobody reads the rest.
    Drop,
}

/// Who takes the next piece of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// The application that has the request.
    Application,
    /// Nobody yet: the request waits for a worker, or its own is gone and whoever has it is still to hear of that.
    /// Another worker may want all of the body, so nothing of it may be lost.
    NobodyYet,
    /// Nobody any more: the application has returned, or its answer is not wanted. What comes is thrown away.
    Nobody,
}

/// The decision for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    stage: Stage,
    /// The client waits to be asked for it.
    is_to_be_asked: bool,
    /// The next request comes behind it on the same connection.
    is_in_line: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody has asked for it.
    Unread,
    /// Nobody has asked for it, and the answer has begun.
    UnreadBehindAnswer,
    /// It goes to the application.
    UnderWay,
    /// The same, and the answer has begun.
    UnderWayBehindAnswer,
    /// The worker that had it is gone; the next one has not asked for it.
    Stopped,
    /// There is none, or nothing is to be done about it any more.
    Over,
}

impl Upload {
    /// A body that comes in pieces.
    #[must_use]
    pub const fn new(is_to_be_asked: bool, is_in_line: bool) -> Self {
        Self { stage: Stage::Unread, is_to_be_asked, is_in_line }
    }

    /// There is none, or it is here as a whole.
    #[must_use]
    pub const fn none() -> Self {
        Self { stage: Stage::Over, is_to_be_asked: false, is_in_line: false }
    }

    /// The application asks for it.
    pub fn wanted(&mut self) -> Step {
        match self.stage {
            Stage::Unread | Stage::Stopped => {
                self.stage = Stage::UnderWay;
                Step::Send
            }
            Stage::UnreadBehindAnswer => {
                self.stage = Stage::UnderWayBehindAnswer;
                Step::SendOnce
            }
            // It has come already, or is on its way: from the beginning again it would come twice.
            Stage::UnderWay | Stage::UnderWayBehindAnswer | Stage::Over => Step::Nothing,
        }
    }

    /// The worker is gone, and another one may have the request.
    pub fn worker_lost(&mut self) -> Step {
        if self.stage != Stage::UnderWay {
            return Step::Nothing;
        }
        self.stage = Stage::Stopped;
        Step::Stop
    }

    /// The answer begins and comes in pieces: the application may read on meanwhile, so the body is on its way
    /// now, but for a client that waits to be asked.
    pub fn answer_begins(&mut self) -> Step {
        match self.stage {
            Stage::Unread if self.is_to_be_asked => {
                self.stage = Stage::UnreadBehindAnswer;
                Step::Nothing
            }
            // Of a client that was asked already it comes anyway.
            Stage::Unread | Stage::Stopped => {
                self.stage = Stage::UnderWayBehindAnswer;
                Step::SendOnce
            }
            Stage::UnderWay => {
                self.stage = Stage::UnderWayBehindAnswer;
                Step::LetGo
            }
            Stage::UnreadBehindAnswer | Stage::UnderWayBehindAnswer | Stage::Over => Step::Nothing,
        }
    }

    /// The answer is complete. `is_short`: the rest is, as far as that is known.
    pub fn answer_ends(&mut self, is_short: bool) -> Step {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let discards = self.is_in_line && !self.is_to_be_asked;
        match stage {
            Stage::Unread if discards && is_short => Step::Discard,
            Stage::UnderWay | Stage::UnderWayBehindAnswer | Stage::Stopped if discards => {
                Step::Discard
            }
            Stage::Over => Step::Nothing,
            Stage::Unread
            | Stage::UnreadBehindAnswer
            | Stage::UnderWay
            | Stage::UnderWayBehindAnswer
            | Stage::Stopped => Step::Drop,
        }
    }
}

/// The pieces that were sent, for another try.
#[derive(Debug)]
pub struct Kept<P> {
    pieces: Vec<P>,
    bytes: usize,
    bytes_max: usize,
    /// How many of them this worker was given.
    given: usize,
    /// All that was sent is here.
    is_whole: bool,
    /// No other worker will have the request: what this one was given goes.
    lets_go: bool,
}

impl<P: Clone> Kept<P> {
    /// `bytes`: what counts already for what is kept.
    #[must_use]
    pub const fn new(bytes: usize, bytes_max: usize) -> Self {
        Self { pieces: Vec::new(), bytes, bytes_max, given: 0, is_whole: true, lets_go: false }
    }

    /// The next piece that another worker had and this one has not. `None`: there is none; read on.
    pub fn again(&mut self) -> Option<P> {
        let piece = self.pieces.get(self.given).cloned();
        if piece.is_some() {
            self.given += 1;
        }
        self.tidy();
        piece
    }

    /// A new piece is about to be sent.
    pub fn take(&mut self, piece: &P, len: usize) {
        self.bytes = self.bytes.saturating_add(len);
        self.is_whole &= self.bytes <= self.bytes_max && !self.lets_go;
        if self.is_whole {
            self.pieces.push(piece.clone());
            self.given = self.pieces.len();
        }
        self.tidy();
    }

    /// Another worker begins with the body.
    pub fn begin_again(&mut self) {
        self.given = 0;
    }

    /// No other worker will have the request. What this one was not given yet stays until it was.
    pub fn let_go(&mut self) {
        self.lets_go = true;
        self.tidy();
    }

    /// Whether another worker could have all of it.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        if self.is_whole { self.bytes } else { 0 }
    }

    /// What will not be asked for again goes.
    fn tidy(&mut self) {
        let is_given = self.given == self.pieces.len();
        self.is_whole &= !(self.lets_go && is_given);
        if !self.is_whole && is_given {
            self.pieces = Vec::new();
            self.given = 0;
        }
    }
}
