//! Asks what it was given, once, and keeps the answers.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::client::{Desk, Request, Role};
use super::super::resp::Value;

/// See the module's text.
pub struct Script {
    requests: Vec<Request>,
    pub answers: Rc<RefCell<Vec<Value>>>,
}

impl Script {
    pub fn new(requests: Vec<Request>) -> Self {
        Self { requests, answers: Rc::default() }
    }

    /// Requests that it will ask.
    pub fn len(&self) -> usize {
        self.requests.len()
    }
}

impl Role for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn next(&mut self, _: &mut Desk<'_>) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    fn answered(&mut self, _: &mut Desk<'_>, _: u32, value: &Value) -> Result<(), String> {
        self.answers.borrow_mut().push(value.clone());
        Ok(())
    }

    fn lost(&mut self, _: &mut Desk<'_>, _: u32) {}
}
