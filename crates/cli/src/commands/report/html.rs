//! Text in HTML.

use callgate::Action;

/// A text that means itself in an element or an attribute.
pub(super) fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// What colour an action gets; it is written out, too.
pub(super) fn class_of(action: Action) -> &'static str {
    match action {
        Action::Allow | Action::Log => "allow",
        Action::Notify | Action::Trace(_) => "other",
        _ => "deny",
    }
}

/// A table of two columns.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let rows = facts.iter().map(|(name, value)| {
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n",
            escaped(name),
            escaped(value)
        )
    });
    format!(
        "<table class=\"facts\">\n{}</table>\n",
        rows.collect::<String>()
    )
}
