//! The walk over a cell's syntax tree, and the rules on the way.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{
    AnyParameterRef, Comprehension, ExceptHandler, Expr, ExprContext, Parameters, Pattern, Stmt,
    StmtFunctionDef, StmtImport, StmtImportFrom, WithItem,
};
use ruff_text_size::Ranged;

use super::{
    code_policy::{CodePolicy, Violation},
    environment::{Environment, elements},
    names::{BUILTINS, Names, Value},
};
use crate::parse::{Parsed, parse};

/// The first violation in the order of the text.
fn first_violation(policy: &CodePolicy, code: &str, suite: &[Stmt]) -> Result<(), Violation> {
    let environment = Environment { policy, names: Names::new() };
    let mut walk = Walk { environment, functions: Vec::new(), first: None };
    walk.visit_body(suite);
    walk.functions_from(0);
    match walk.first {
        None => Ok(()),
        Some(Denial { offset, rule, what }) => Err(Violation::new(code, offset, rule, what)),
    }
}

struct Walk<'a> {
    environment: Environment<'a>,
    /// Functions whose bodies wait for the end of the scope that defines them: they run later, and see what
    /// it binds.
    functions: Vec<&'a StmtFunctionDef>,
    first: Option<Denial>,
}

/// What breaks a rule, and where.
struct Denial {
    offset: usize,
    rule: String,
    what: String,
}

impl<'a> Visitor<'a> for Walk<'a> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        let conditional =
            matches!(statement, Stmt::If(_) | Stmt::For(_) | Stmt::While(_) | Stmt::Try(_) | Stmt::Match(_));
        self.environment.names.conditional += usize::from(conditional);
        self.statement(statement);
        self.environment.names.conditional -= usize::from(conditional);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        self.expression(expression);
        let scoped = matches!(
            expression,
            Expr::Lambda(_) | Expr::ListComp(_) | Expr::SetComp(_) | Expr::DictComp(_) | Expr::Generator(_)
        );
        if scoped {
            self.environment.names.enter();
            if let Expr::Lambda(lambda) = expression
                && let Some(parameters) = &lambda.parameters
            {
                self.bind_parameters(parameters);
            }
            for comprehension in comprehensions(expression) {
                self.bind_loop(&comprehension.target, &comprehension.iter);
            }
        }
        visitor::walk_expr(self, expression);
        if scoped {
            self.environment.names.leave();
        }
        if let Expr::Named(it) = expression {
            self.environment.assign(&it.target, Some(&it.value));
        }
    }

    fn visit_with_item(&mut self, item: &'a WithItem) {
        visitor::walk_with_item(self, item);
        if let Some(target) = &item.optional_vars {
            self.environment.assign(target, None);
        }
    }

    fn visit_except_handler(&mut self, handler: &'a ExceptHandler) {
        let ExceptHandler::ExceptHandler(it) = handler;
        self.bind_own(it.name.as_ref().map(|name| name.id.as_str()));
        visitor::walk_except_handler(self, handler);
    }

    fn visit_pattern(&mut self, pattern: &'a Pattern) {
        let name = match pattern {
            Pattern::MatchAs(it) => it.name.as_ref(),
            Pattern::MatchStar(it) => it.name.as_ref(),
            Pattern::MatchMapping(it) => it.rest.as_ref(),
            _ => None,
        };
        self.bind_own(name.map(|name| name.id.as_str()));
        visitor::walk_pattern(self, pattern);
    }
}

impl<'a> Walk<'a> {
    fn statement(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(it) => {
                it.decorator_list.iter().for_each(|decorator| self.visit_decorator(decorator));
                visitor::walk_parameters(self, &it.parameters);
                it.returns.iter().for_each(|returns| self.visit_annotation(returns));
                self.bind_own(Some(it.name.id.as_str()));
                self.functions.push(it);
            }
            Stmt::ClassDef(it) => {
                let waiting = self.functions.len();
                self.environment.names.enter();
                visitor::walk_stmt(self, statement);
                // Methods do not see the names of their class.
                self.environment.names.leave();
                self.functions_from(waiting);
                self.bind_own(Some(it.name.id.as_str()));
            }
            Stmt::Import(it) => self.import(it),
            Stmt::ImportFrom(it) => self.import_from(it),
            Stmt::Global(it) => {
                it.names.iter().for_each(|name| self.environment.names.declare_global(name.id.as_str()));
            }
            Stmt::For(it) => {
                self.bind_loop(&it.target, &it.iter);
                visitor::walk_stmt(self, statement);
            }
            _ => {
                visitor::walk_stmt(self, statement);
                match statement {
                    Stmt::Assign(it) => {
                        it.targets.iter().for_each(|target| self.environment.assign(target, Some(&it.value)));
                    }
                    Stmt::AnnAssign(it) => {
                        if let Some(value) = &it.value {
                            self.environment.assign(&it.target, Some(value));
                        }
                    }
                    Stmt::AugAssign(it) => self.append(&it.target, &it.value),
                    Stmt::Delete(it) => {
                        for name in it.targets.iter().filter_map(Expr::as_name_expr) {
                            self.environment.names.unbind(name.id.as_str());
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn expression(&mut self, expression: &'a Expr) {
        let at = expression.start().to_usize();
        match expression {
            Expr::Name(it) if it.ctx == ExprContext::Load => self.reference(expression, at),
            Expr::Attribute(it) => {
                self.attribute(&it.attr.id, it.attr.start().to_usize());
                let enumerates = matches!(it.attr.id.as_str(), "values" | "items" | "copy");
                if enumerates && let Some(Value::Namespace(path)) = self.environment.value(&it.value) {
                    self.computed(&path, at);
                }
                self.reference(expression, at);
            }
            Expr::Subscript(it) => {
                if let Some(object) = self.environment.value(&it.value).filter(Value::is_dictionary) {
                    self.lookup(&object, &it.slice, at);
                }
                self.reference(expression, at);
            }
            Expr::Call(call) => {
                let callee = self.environment.callee(call);
                match self.environment.imported(&callee) {
                    Some(Some(module)) => self.module(&module, at),
                    Some(None) if !self.environment.policy.deny_imports.is_empty() => {
                        self.report(at, "deny_imports", "import of a module with a computed name".to_owned());
                    }
                    _ => {}
                }
                if let Some((object, name)) = self.environment.looked_up(&callee) {
                    self.lookup(&object, name, at);
                }
                self.reference(expression, at);
            }
            _ => {}
        }
    }

    /// A lookup by a name in quotes, or by one that only running the cell would tell.
    fn lookup(&mut self, object: &Value, name: &'a Expr, at: usize) {
        match (self.environment.text(name), object) {
            (Some(name), _) => self.attribute(&name, at),
            (None, Value::Path(path) | Value::Namespace(path)) => self.computed(path, at),
            (None, Value::Text(_) | Value::Globals | Value::Own) => {}
        }
    }

    fn computed(&mut self, path: &str, at: usize) {
        if self.is_guarded(path) {
            self.report(at, "deny_calls", format!("looking up a computed name on `{path}`"));
        }
    }

    fn attribute(&mut self, name: &str, at: usize) {
        if self.environment.policy.deny_attributes.contains(name) {
            self.report(at, &format!("deny_attributes: {name}"), format!("attribute `{name}`"));
        }
    }

    fn reference(&mut self, expression: &'a Expr, at: usize) {
        if let Some(Value::Path(path)) = self.environment.value(expression) {
            self.path(&path, at);
        }
    }

    fn path(&mut self, path: &str, at: usize) {
        let policy = self.environment.policy;
        if let Some(name) = path.strip_prefix("builtins.")
            && policy.deny_names.contains(name)
        {
            return self.report(at, &format!("deny_names: {name}"), format!("`{name}`"));
        }
        if let Some(rule) = policy.denied_call(path) {
            self.report(at, &format!("deny_calls: {rule}"), format!("`{path}`"));
        }
    }

    fn module(&mut self, module: &str, at: usize) {
        if let Some(rule) = self.environment.policy.denied_import(module) {
            self.report(at, &format!("deny_imports: {rule}"), format!("import of `{module}`"));
        }
    }

    fn import(&mut self, it: &'a StmtImport) {
        for alias in &it.names {
            let module = alias.name.id.as_str();
            self.module(module, alias.start().to_usize());
            let top = module.split('.').next().unwrap_or(module);
            let (name, bound) = match &alias.asname {
                Some(name) => (name.id.as_str(), module),
                None => (top, top),
            };
            self.environment.names.bind(name, Some(Value::Path(bound.to_owned())));
        }
    }

    fn import_from(&mut self, it: &'a StmtImportFrom) {
        let Some(module) = it.module.as_ref().filter(|_| it.level == 0) else { return };
        let module = module.id.as_str();
        for alias in &it.names {
            let at = alias.start().to_usize();
            if alias.name.id.as_str() == "*" {
                self.module(module, it.start().to_usize());
                if self.is_guarded(module) {
                    self.report(at, "deny_calls", format!("import of everything in `{module}`"));
                }
                continue;
            }
            let path = format!("{module}.{}", alias.name.id);
            if self.environment.policy.denied_import(&path).is_some() {
                // The message names what the cell names: the module, unless only the member is denied.
                let denied = self.environment.policy.denied_import(module).is_some();
                self.module(if denied { module } else { &path }, it.start().to_usize());
            }
            self.path(&path, at);
            let name = alias.asname.as_ref().unwrap_or(&alias.name);
            self.environment.names.bind(name.id.as_str(), Some(Value::Path(path)));
        }
    }

    /// `name += "tem"`.
    fn append(&mut self, target: &'a Expr, value: &'a Expr) {
        let Expr::Name(name) = target else { return };
        let text = match (self.environment.text(target), self.environment.text(value)) {
            (Some(left), Some(right)) => Value::text(left + &right),
            _ => None,
        };
        self.environment.names.bind(name.id.as_str(), text);
    }

    fn functions_from(&mut self, first: usize) {
        // Only this scope's own functions: what they define in turn is done with before they are left.
        for function in self.functions.split_off(first.min(self.functions.len())) {
            let waiting = self.functions.len();
            self.environment.names.enter();
            self.bind_parameters(&function.parameters);
            self.visit_body(&function.body);
            self.functions_from(waiting);
            self.environment.names.leave();
        }
    }

    fn bind_parameters(&mut self, parameters: &'a Parameters) {
        for parameter in parameters.iter().map(AnyParameterRef::as_parameter) {
            self.bind_own(Some(parameter.name.id.as_str()));
        }
    }

    /// `for m in [os]` binds `m` to the first element that stands for something.
    fn bind_loop(&mut self, target: &'a Expr, iterated: &'a Expr) {
        let is_guarded = |element: &&Expr| match self.environment.value(element) {
            Some(Value::Path(path)) => self.is_guarded(&path),
            _ => false,
        };
        let first = elements(iterated).iter().find(is_guarded);
        self.environment.assign(target, first);
    }

    fn bind_own(&mut self, name: Option<&'a str>) {
        if let Some(name) = name {
            self.environment.names.bind(name, None);
        }
    }

    /// Whether the policy denies members of a module.
    fn is_guarded(&self, path: &str) -> bool {
        let policy = self.environment.policy;
        (path == BUILTINS && !policy.deny_names.is_empty())
            || policy
                .deny_calls
                .iter()
                .any(|rule| rule.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Functions are looked into last, so the earliest violation is kept rather than the first one met.
    fn report(&mut self, offset: usize, rule: &str, what: String) {
        if self.first.as_ref().is_none_or(|first| offset < first.offset) {
            self.first = Some(Denial { offset, rule: rule.to_owned(), what });
        }
    }
}

impl CodePolicy {
    /// Checks one cell, and names the first thing in it that is denied.
    ///
    /// Code that is not valid Python passes: running it yields its syntax error and nothing else. Code that
    /// is nested too deeply to be looked at does not pass.
    pub fn check(&self, code: &str) -> Result<(), Violation> {
        if *self == Self::default() {
            return Ok(());
        }
        match parse(code) {
            Parsed::Invalid(_) => Ok(()),
            Parsed::TooDeep => Err(Violation::too_deep()),
            Parsed::Module(suite) => first_violation(self, code, &suite),
        }
    }

    /// The rule that denies a module. The longest one that covers it decides.
    fn denied_import(&self, module: &str) -> Option<&str> {
        let longest = |rules: &'_ std::collections::BTreeSet<String>| {
            rules
                .iter()
                .filter(|rule| covers(rule, module))
                .map(|rule| rule.trim_end_matches('*').len())
                .max()
        };
        let denied = longest(&self.deny_imports)?;
        if longest(&self.allow_imports).is_some_and(|allowed| allowed >= denied) {
            return None;
        }
        self.deny_imports
            .iter()
            .find(|rule| covers(rule, module) && rule.trim_end_matches('*').len() == denied)
            .map(String::as_str)
    }

    /// The rule that denies a member, also where a module is reached through another one: `shutil.os.system`.
    fn denied_call(&self, path: &str) -> Option<&str> {
        let starts = std::iter::once(0).chain(path.match_indices('.').map(|(dot, _)| dot + 1));
        starts.map(|start| path[start..].trim_start_matches('_')).find_map(|path| {
            if self.allow_calls.contains(path) {
                return None;
            }
            let matches = |rule: &&String| match rule.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => rule.as_str() == path,
            };
            self.deny_calls.iter().find(matches).map(String::as_str)
        })
    }
}

fn covers(rule: &str, module: &str) -> bool {
    rule == "*" || module.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn comprehensions(expression: &Expr) -> &[Comprehension] {
    match expression {
        Expr::ListComp(it) => &it.generators,
        Expr::SetComp(it) => &it.generators,
        Expr::DictComp(it) => &it.generators,
        Expr::Generator(it) => &it.generators,
        _ => &[],
    }
}
