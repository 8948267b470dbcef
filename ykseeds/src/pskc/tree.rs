//! XML as a tree, one child of the container at a time. No entity is expanded and nothing is loaded.

use crate::lines::without_mark;
use crate::problem::{BadPskc, Foreign, Limit, Why};
use memchr::memchr_iter;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use zeroize::Zeroizing;

/// How deep elements may be nested. PSKC has 11.
const MAX_DEPTH: usize = 32;

/// How many elements a child of the container may have in it. A `KeyPackage` has 50.
const MAX_ELEMENTS: usize = 10_000;

/// An element with all that is in it.
pub(super) struct Element {
    /// Its name, without a prefix.
    pub(super) name: String,
    /// The line that it begins in.
    pub(super) line: usize,
    attributes: Vec<(String, String)>,
    /// Text directly in it.
    text: Zeroizing<String>,
    children: Vec<Element>,
}

impl Element {
    /// An attribute, by its name without a prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The text in it, without the blanks and line ends around it.
    pub(super) fn text(&self) -> &str {
        self.text.trim_ascii()
    }

    /// All children.
    pub(super) fn children(&self) -> &[Element] {
        &self.children
    }

    /// The child of this name, of which there may be one.
    pub(super) fn child(&self, name: &'static str) -> Result<Option<&Element>, BadPskc> {
        let mut found = self.children.iter().filter(|child| child.name == name);
        match (found.next(), found.next()) {
            (child, None) => Ok(child),
            (_, Some(_)) => Err(BadPskc::Twice(name)),
        }
    }

    /// The child of this name, which has to be there.
    pub(super) fn needed(&self, name: &'static str) -> Result<&Element, BadPskc> {
        self.child(name)?.ok_or(BadPskc::Missing(name))
    }

    /// Text of a child, if it is there and not empty.
    pub(super) fn text_of(&self, name: &'static str) -> Result<Option<&str>, BadPskc> {
        Ok(self.child(name)?.map(Element::text).filter(|text| !text.is_empty()))
    }

    /// Whether an element of this name is in it, however deep.
    pub(super) fn has(&self, name: &str) -> bool {
        self.children.iter().any(|child| child.name == name || child.has(name))
    }
}

/// Reads a container.
pub(super) struct Reader<'x> {
    text: &'x str,
    xml: quick_xml::Reader<&'x [u8]>,
    /// Bytes whose lines were counted, and how many that are.
    counted: (usize, usize),
    open: bool,
}

impl<'x> Reader<'x> {
    /// Reads up to the first child of `KeyContainer`.
    pub(super) fn new(xml: &'x [u8]) -> Result<Self, Why> {
        let text = str::from_utf8(without_mark(xml)).map_err(|_| BadPskc::Syntax)?;
        let mut reader = Self { text, xml: quick_xml::Reader::from_str(text), counted: (0, 1), open: false };
        loop {
            match reader.event()? {
                Event::Start(start) if local(&start) == "KeyContainer" => {
                    reader.open = true;
                    return Ok(reader);
                }
                Event::Empty(start) if local(&start) == "KeyContainer" => return Ok(reader),
                Event::Start(_) | Event::Empty(_) => return Err(Foreign::Xml.into()),
                Event::Eof => return Err(BadPskc::Syntax.into()),
                _ => {}
            }
        }
    }

    /// The line that was read last.
    pub(super) fn line(&mut self) -> usize {
        let at = usize::try_from(self.xml.buffer_position()).unwrap_or(usize::MAX);
        self.line_at(at)
    }

    /// The next child of the container. `None` at its end.
    pub(super) fn child(&mut self) -> Result<Option<Element>, Why> {
        if !self.open {
            return Ok(None);
        }
        let mut stack: Vec<Element> = Vec::new();
        let mut elements = 0_usize;
        loop {
            if elements > MAX_ELEMENTS {
                return Err(Limit::Elements.into());
            }
            let before = usize::try_from(self.xml.buffer_position()).unwrap_or(usize::MAX);
            let event = self.event()?;
            let done = match event {
                Event::Start(start) => {
                    if stack.len() >= MAX_DEPTH {
                        return Err(Limit::Elements.into());
                    }
                    elements = elements.saturating_add(1);
                    stack.push(self.element(&start, before)?);
                    None
                }
                Event::Empty(start) => {
                    elements = elements.saturating_add(1);
                    Some(self.element(&start, before)?)
                }
                Event::End(_) => match stack.pop() {
                    Some(element) => Some(element),
                    None => {
                        self.open = false;
                        return Ok(None);
                    }
                },
                Event::Text(text) => {
                    append(&mut stack, &text.into_inner());
                    None
                }
                Event::CData(text) => {
                    append(&mut stack, &text.into_inner());
                    None
                }
                Event::GeneralRef(reference) => {
                    append(&mut stack, &referred(&reference)?);
                    None
                }
                Event::Eof => return Err(BadPskc::Syntax.into()),
                _ => None,
            };
            if let Some(element) = done {
                match stack.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => return Ok(Some(element)),
                }
            }
        }
    }

    fn event(&mut self) -> Result<Event<'x>, Why> {
        match self.xml.read_event() {
            Ok(Event::DocType(_)) => Err(BadPskc::DocType.into()),
            Ok(event) => Ok(event),
            Err(_) => Err(BadPskc::Syntax.into()),
        }
    }

    fn element(&mut self, start: &BytesStart<'_>, at: usize) -> Result<Element, Why> {
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| BadPskc::Syntax)?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| BadPskc::Entity)?;
            attributes.push((attribute.key.local_name().into_inner().to_owned(), value.into_owned()));
        }
        Ok(Element {
            name: local(start).to_owned(),
            line: self.line_at(at),
            attributes,
            text: Zeroizing::new(String::new()),
            children: Vec::new(),
        })
    }

    /// Counts on from where it counted last.
    fn line_at(&mut self, at: usize) -> usize {
        let (from, line) = self.counted;
        let new = self.text.as_bytes().get(from..at).unwrap_or_default();
        let line = line.saturating_add(memchr_iter(b'\n', new).count());
        self.counted = (at.max(from), line);
        line
    }
}

/// The name of an element without its prefix.
fn local<'a>(start: &'a BytesStart<'_>) -> &'a str {
    start.local_name().into_inner()
}

/// Adds text to the innermost element. Text between the children of the container is nobody's.
fn append(stack: &mut [Element], text: &str) {
    let Some(element) = stack.last_mut() else { return };
    // Room for all at once: text that grows leaves copies behind, and it may be a secret.
    let mut joined = Zeroizing::new(String::with_capacity(element.text.len().saturating_add(text.len())));
    joined.push_str(&element.text);
    joined.push_str(text);
    element.text = joined;
}

/// The character that a reference means: by its number, or one of the five that XML has names for.
fn referred(reference: &BytesRef<'_>) -> Result<String, Why> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| BadPskc::Entity)? {
        return Ok(character.into());
    }
    let character = quick_xml::escape::resolve_predefined_entity(reference).ok_or(BadPskc::Entity)?;
    Ok(character.to_owned())
}
