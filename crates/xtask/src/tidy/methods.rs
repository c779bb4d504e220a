//! Methods: what a Rust file defines in inherent `impl` blocks, and what it calls.
//!
//! This is read from words, without types. A call on `self` belongs to the type of its block, and one on
//! anything else to the only type that has a method of that name.

use super::tokens::{is_name, tokens};

/// What a file has and wants of methods.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    /// In inherent blocks: the type and the name.
    pub(crate) inherent: Vec<(String, String)>,
    /// In traits and their implementations: the name, which says nothing about the file.
    pub(crate) of_traits: Vec<String>,
    pub(crate) calls: Vec<Call>,
}

/// A call of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The type it is called on, where the words say it.
    pub(crate) of: Option<String>,
    pub(crate) name: String,
}

/// What a brace opens.
#[derive(Clone, Debug)]
enum Block {
    Inherent(String),
    OfTrait(String),
    Other,
}

/// Reads code without comments and strings.
pub(crate) fn methods(code: &str) -> Methods {
    let tokens = tokens(code);
    let mut found = Methods::default();
    let mut blocks: Vec<Block> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match *token {
            "impl" | "trait" if starts_item(&tokens, at) => {
                let (block, behind) = header(&tokens, at);
                blocks.extend(block);
                at = behind;
                continue;
            }
            "{" => blocks.push(Block::Other),
            "}" => drop(blocks.pop()),
            "fn" => define(&mut found, blocks.last(), tokens.get(at + 1)),
            _ => found.calls.extend(call(&tokens, at, &blocks)),
        }
        at += 1;
    }
    found
}

/// Whether an item may begin here: `impl` in the type of a parameter does not.
fn starts_item(tokens: &[&str], at: usize) -> bool {
    let before = at.checked_sub(1).map(|at| tokens[at]);
    before.is_none_or(|before| ["}", ";", "]", "{", ")", "pub", "unsafe"].contains(&before))
}

/// The block that an `impl` or `trait` opens, and the index behind its brace.
fn header(tokens: &[&str], at: usize) -> (Option<Block>, usize) {
    let len = tokens[at..].iter().position(|token| ["{", ";"].contains(token));
    let end = at + len.unwrap_or(tokens.len() - at);
    if tokens.get(end) != Some(&"{") {
        return (None, end + 1);
    }
    let head = &tokens[at + 1..end];
    let head = &head[generics(head)..];
    // `for<'a>` is a part of a bound.
    let of = head.windows(2).position(|pair| pair[0] == "for" && pair[1] != "<");
    let block = match of {
        Some(of) => Block::OfTrait(type_name(&head[of + 1..])),
        None if tokens[at] == "trait" => Block::OfTrait(String::new()),
        None => Block::Inherent(type_name(head)),
    };
    (Some(block), end + 1)
}

/// The length of the parameters in angle brackets with which a header may begin.
fn generics(head: &[&str]) -> usize {
    let mut depth = 0usize;
    for (at, token) in head.iter().enumerate() {
        match *token {
            "<" => depth += 1,
            ">" if at > 0 && head[at - 1] == "-" => {}
            ">" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return if at == 0 { 0 } else { at + 1 };
        }
    }
    0
}

/// The last name of a type's path.
fn type_name(tokens: &[&str]) -> String {
    let path = tokens.iter().take_while(|token| !["<", "where"].contains(token));
    path.filter(|token| is_name(token)).last().map_or_else(String::new, |name| (*name).to_owned())
}

fn define(found: &mut Methods, block: Option<&Block>, name: Option<&&str>) {
    let Some(name) = name.filter(|name| is_name(name)) else { return };
    match block {
        Some(Block::Inherent(of)) => found.inherent.push((of.clone(), (*name).to_owned())),
        Some(Block::OfTrait(_)) => found.of_traits.push((*name).to_owned()),
        Some(Block::Other) | None => {}
    }
}

/// `x.name(`, `self.name(`, `Self::name`, `Type::name`.
fn call(tokens: &[&str], at: usize, blocks: &[Block]) -> Option<Call> {
    let name = tokens.get(at + 1).filter(|name| is_name(name))?;
    let own = || {
        blocks.iter().rev().find_map(|block| match block {
            Block::Inherent(of) | Block::OfTrait(of) => Some(of.clone()),
            Block::Other => None,
        })
    };
    let before = at.checked_sub(1).map_or("", |at| tokens[at]);
    let of = match tokens[at] {
        "." if ["(", "::"].contains(tokens.get(at + 2)?) => {
            let is_own = before == "self" && (at < 2 || tokens[at - 2] != ".");
            if is_own { own() } else { None }
        }
        "::" if before == "Self" => own(),
        "::" if before.starts_with(char::is_uppercase) => Some(before.to_owned()),
        _ => return None,
    };
    Some(Call { of, name: (*name).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_inherent_blocks_are_told_from_those_of_traits() {
        let found = methods(
            "pub(super) trait T { fn a(&self) {} } impl<X: Fn() -> u8> crate::b::C<X> { pub fn d() {} }\n\
             impl<'a> T for C<'a> { fn a(&self) {} } fn e(f: impl Fn()) {}",
        );
        assert_eq!(found.inherent, [("C".to_owned(), "d".to_owned())]);
        assert_eq!(found.of_traits, ["a", "a"]);
    }

    #[test]
    fn a_call_says_on_what_it_is_if_the_words_say_it() {
        let found = methods(
            "impl A { fn f(&self) { self.g(); self.h.i::<u8>(); Self::j(); self.k; B::l(1) } }",
        );
        let calls: Vec<String> = found
            .calls
            .iter()
            .map(|call| format!("{}.{}", call.of.as_deref().unwrap_or("?"), call.name))
            .collect();
        assert_eq!(calls, ["A.g", "?.i", "A.j", "B.l"]);
    }
}
