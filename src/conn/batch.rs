//! Commands for an executor: [`Batch`].

use std::fmt;

use crate::args::ToArgs;
use crate::conn::command_buffer::CommandBuffer;
use crate::error::Result;
use crate::script::source::ScriptSource;
use crate::value::Value;

/// A list of commands that an [`Executor`](crate::Executor) runs in one round trip.
///
/// A [`Pipeline`](crate::Pipeline) passes it to
/// [`execute_batch`](crate::Executor::execute_batch). Programs need this type only to implement
/// that method.
///
/// ```
/// use redigo::{Args, Batch};
///
/// let mut batch = Batch::new();
/// batch.push("SET", ("a", 1));
/// batch.push("GET", "a");
/// let names: Vec<&str> = batch.iter().map(|(name, _args)| name).collect();
/// assert_eq!(names, ["SET", "GET"]);
/// let (_, args) = batch.iter().next().unwrap();
/// assert_eq!(Args::new().args(args), redigo::args!["a", 1]);
/// ```
pub struct Batch {
    pub(super) commands: CommandBuffer,
    pub(super) scripts: Vec<ScriptSource>,
}

impl Batch {
    /// Returns an empty list.
    ///
    /// ```
    /// assert!(redigo::Batch::new().is_empty());
    /// ```
    pub fn new() -> Batch {
        Batch { commands: CommandBuffer::new(), scripts: Vec::new() }
    }

    /// Adds a command.
    ///
    /// ```
    /// let mut batch = redigo::Batch::new();
    /// batch.push("INCR", "visits");
    /// assert_eq!(batch.len(), 1);
    /// ```
    pub fn push(&mut self, command: &str, args: impl ToArgs) {
        self.commands.push(command, &args);
    }

    /// Returns the number of commands.
    ///
    /// ```
    /// assert_eq!(redigo::Batch::new().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Returns true if there are no commands.
    ///
    /// ```
    /// assert!(redigo::Batch::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the name and the arguments of each command.
    ///
    /// ```
    /// let mut batch = redigo::Batch::new();
    /// batch.push("INCR", "visits");
    /// assert!(batch.iter().all(|(name, _args)| name == "INCR"));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, impl ToArgs)> {
        let commands = self.commands.range(0..self.len());
        commands.iter().map(|command| (command.name(), command)).collect::<Vec<_>>().into_iter()
    }

    /// Adds a call of a script by its hash. The script is loaded ahead.
    pub(crate) fn push_script(&mut self, script: &ScriptSource, command: &str, args: &dyn ToArgs) {
        self.commands.push(command, args);
        add_script(&mut self.scripts, script);
    }

    /// Returns the scripts to be loaded ahead, each once.
    pub(crate) fn scripts(&self) -> &[ScriptSource] {
        &self.scripts
    }

    /// Turns replies into results whose errors name the command.
    pub(crate) fn results(&self, replies: Vec<Value>) -> Vec<Result<Value>> {
        self.commands.results(0, replies).collect()
    }
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}

/// Adds a script to a list that has each script once.
pub(super) fn add_script(scripts: &mut Vec<ScriptSource>, script: &ScriptSource) {
    if !scripts.iter().any(|added| added.hash() == script.hash()) {
        scripts.push(script.clone());
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither names nor arguments: both may be secrets.
        f.debug_struct("Batch").field("commands", &self.len()).finish_non_exhaustive()
    }
}
