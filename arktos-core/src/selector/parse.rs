//! Reads the query form of label selectors as upstream does, with its faults in its words.

use super::{Condition, Requirement, SelectorError, label_key_fault, label_value_fault};

/// What the text is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A word, or an operator or keyword where a word may stand.
    Word(&'a str),
    /// `=`, `==`, `!=`, `<`, `>`, `!`, `,`, `(`, `)`.
    Symbol(&'a str),
    /// Symbols that are none together.
    Unknown(&'a str),
    End,
}

/// The requirements of a selector.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { tokens: tokens(text), next: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Symbol("!") => {}
            _ => return Err(parser.fault(", expected: !, identifier, or 'end of string'")),
        }
        let requirement = parser.requirement();
        requirements
            .push(requirement.map_err(|fault| SelectorError(format!("unable to parse requirement: {}", fault.0)))?);
        match parser.peek() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => parser.skip(),
            _ => return Err(parser.fault(", expected: ',' or 'end of string'")),
        }
        if !matches!(parser.peek(), Token::Word(_) | Token::Symbol("!")) {
            return Err(parser.fault(", expected: identifier after ','"));
        }
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    const SYMBOLS: [&str; 9] = ["=", "==", "!=", "<", ">", "!", ",", "(", ")"];
    let special = |c: char| "=!(),<>".contains(c);
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = if special(first) {
            let run = rest.find(|c: char| !special(c)).unwrap_or(rest.len());
            // The longest symbol that the run begins with; it grows by one sign at a time.
            let known = (1..=run.min(2)).rev().find(|length| SYMBOLS.contains(&&rest[..*length]));
            tokens.push(known.map_or(Token::Unknown(&rest[..run]), |length| Token::Symbol(&rest[..length])));
            known.unwrap_or(run)
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || special(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(&rest[..end]));
            end
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.next).copied().unwrap_or(Token::End)
    }

    fn skip(&mut self) {
        self.next += 1;
    }

    /// The fault that the next token is.
    fn fault(&self, expected: &str) -> SelectorError {
        let found = match self.peek() {
            Token::Word(text) | Token::Symbol(text) => text.to_owned(),
            Token::Unknown(text) => format!("error expected: keyword found '{text}'"),
            Token::End => String::new(),
        };
        SelectorError(format!("found '{found}'{expected}"))
    }

    fn word(&mut self) -> Result<&'a str, SelectorError> {
        let Token::Word(word) = self.peek() else { return Err(self.fault(", expected: identifier")) };
        self.skip();
        Ok(word)
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek() == Token::Symbol("!");
        if negated {
            self.skip();
        }
        let key = self.word()?;
        if let Some(fault) = label_key_fault(key) {
            return Err(SelectorError(format!("<nil>: Invalid value: {key:?}: {fault}")));
        }
        let condition = match self.peek() {
            _ if negated => Condition::DoesNotExist,
            Token::End | Token::Symbol(",") => Condition::Exists,
            Token::Symbol(operator @ ("=" | "==" | "!=" | "<" | ">")) => {
                self.skip();
                self.comparison(operator, key)?
            }
            Token::Word(operator @ ("in" | "notin")) => {
                self.skip();
                let mut values = self.values()?;
                values.sort_unstable();
                values.dedup();
                check_values(key, &values)?;
                if operator == "in" { Condition::In(values) } else { Condition::NotIn(values) }
            }
            _ => return Err(self.fault(", expected: in, notin, =, ==, !=, gt, lt")),
        };
        Ok(Requirement { key: key.to_owned(), condition })
    }

    fn comparison(&mut self, operator: &str, key: &str) -> Result<Condition, SelectorError> {
        let value = match self.peek() {
            Token::End | Token::Symbol(",") => "",
            _ => self.word()?,
        };
        let bound = || {
            let fault = "for 'Gt', 'Lt' operators, the value must be an integer";
            value.parse().map_err(|_| SelectorError(format!("values[0]: Invalid value: {value:?}: {fault}")))
        };
        let values = vec![value.to_owned()];
        check_values(key, &values)?;
        Ok(match operator {
            ">" => Condition::GreaterThan(bound()?),
            "<" => Condition::LessThan(bound()?),
            "!=" => Condition::NotIn(values),
            _ => Condition::In(values),
        })
    }

    /// The values in parentheses. Where nothing stands, the empty value is meant.
    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        if self.peek() != Token::Symbol("(") {
            return Err(self.fault(" expected: '('"));
        }
        self.skip();
        if !matches!(self.peek(), Token::Word(_) | Token::Symbol("," | ")")) {
            return Err(self.fault(", expected: ',', ')' or identifier"));
        }
        let mut values = Vec::new();
        loop {
            values.push(match self.peek() {
                Token::Word(word) => {
                    self.skip();
                    word.to_owned()
                }
                Token::Symbol("," | ")") => String::new(),
                _ => return Err(self.fault(", expected: ',', or identifier")),
            });
            match self.peek() {
                Token::Symbol(",") => self.skip(),
                Token::Symbol(")") => {
                    self.skip();
                    return Ok(values);
                }
                _ => return Err(self.fault(", expected: ',' or ')'")),
            }
        }
    }
}

fn check_values(key: &str, values: &[String]) -> Result<(), SelectorError> {
    for (index, value) in values.iter().enumerate() {
        if let Some(fault) = label_value_fault(value) {
            return Err(SelectorError(format!("values[{index}][{key}]: Invalid value: {value:?}: {fault}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_in_the_words_of_the_api() {
        for (text, fault) in [
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("=x", "found '=', expected: !, identifier, or 'end of string'"),
            ("(a)", "found '(', expected: !, identifier, or 'end of string'"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b,c", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a=b,,c", "found ',', expected: identifier after ','"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a>>1", "unable to parse requirement: found '>', expected: identifier"),
            ("a!", "unable to parse requirement: found '!', expected: in, notin, =, ==, !=, gt, lt"),
            ("a=!b", "unable to parse requirement: found '!', expected: identifier"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            assert_eq!(requirements(text).expect_err(text).0, fault, "{text}");
        }
        let long = "x".repeat(64);
        let fault = requirements(&format!("a in (b,{long})")).expect_err("too long").0;
        assert_eq!(
            fault,
            format!(
                "unable to parse requirement: values[1][a]: Invalid value: \"{long}\": must be no more than 63 bytes"
            )
        );
    }

    #[test]
    fn nothing_between_commas_is_the_empty_value() {
        let values = |text: &str| match requirements(text).expect(text).remove(0).condition {
            Condition::In(values) => values,
            other => panic!("{other:?}"),
        };
        assert_eq!(values("a in (b,)"), ["", "b"]);
        assert_eq!(values("a in ()"), [""]);
        assert_eq!(values("in in (in, notin)"), ["in", "notin"]);
    }
}
