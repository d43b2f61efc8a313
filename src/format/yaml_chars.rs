//! The characters of a text that is read piece by piece.

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;

use crate::error::Error;

/// An iterator over the characters of UTF-8 text; it stores an error in `fault` and ends if the text is invalid.
pub(super) struct Chars<R> {
    reader: R,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    fault: Fault,
}

/// The first error of a reader.
pub(super) type Fault = Rc<RefCell<Option<Error>>>;

impl<R: Read> Chars<R> {
    pub(super) fn new(reader: R, fault: Fault) -> Self {
        Self { reader, buffer: vec![0; 1 << 16], at: 0, end: 0, fault }
    }

    fn fill(&mut self) -> std::io::Result<()> {
        self.buffer.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
        while self.end < self.buffer.len() {
            match self.reader.read(&mut self.buffer[self.end..])? {
                0 => break,
                more => self.end += more,
            }
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Chars<R> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        if self.at + 4 > self.end
            && let Err(error) = self.fill()
        {
            *self.fault.borrow_mut() = Some(error.into());
            return None;
        }
        let rest = &self.buffer[self.at..self.end];
        let first = *rest.first()?;
        if first < 0x80 {
            self.at += 1;
            return Some(char::from(first));
        }
        let width = first.leading_ones() as usize;
        match rest.get(..width).and_then(|bytes| std::str::from_utf8(bytes).ok()) {
            Some(text) => {
                self.at += width;
                text.chars().next()
            }
            None => {
                *self.fault.borrow_mut() = Some(Error::invalid("the text is not UTF-8"));
                None
            }
        }
    }
}
