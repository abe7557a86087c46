//! How a filter finds the number of a call, drawn as a tree.

use std::fmt::Write as _;

use callgate::compiler::bpf::disassemble::{Line, disassemble};
use callgate::compiler::bpf::{Comparison, Operand, Operation, Program};
use callgate::compiler::syscalls;
use callgate::{Action, Arch};

use super::html::{class_of, escaped};

/// A larger tree would be no drawing.
const MOST_LEAVES: usize = 400;

/// What is asked, or what comes of it.
enum Tree {
    /// A question, what follows if not, and what follows if so.
    Ask(String, Box<Tree>, Box<Tree>),
    Answer(Action),
    /// From here on arguments are asked for.
    Arguments,
}

/// The tree of an ABI as a drawing, or nothing if the program is none that way.
pub(super) fn drawing(program: &Program, arch: Arch) -> Option<String> {
    let lines = disassemble(program);
    let mut leaves = 0;
    let tree = follow(&lines, 0, arch, &mut leaves)?;
    let mut drawing = Drawing::default();
    drawing.node(&tree, 0, arch);
    let (width, height) = (drawing.width + 190, drawing.rows * ROW + 8);
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"dispatch tree of {arch}\">{}</svg>",
        drawing.svg
    ))
}

/// Follows a program from an instruction on, with the architecture known.
fn follow(lines: &[Line], mut at: usize, arch: Arch, leaves: &mut usize) -> Option<Tree> {
    loop {
        let line = lines.get(at)?;
        at += 1;
        match line.insn.operation()? {
            Operation::Return(k) => {
                *leaves += 1;
                return (*leaves <= MOST_LEAVES).then(|| Tree::Answer(Action::from_ret(k)));
            }
            Operation::Jump(k) => at += usize::try_from(k).ok()?,
            Operation::JumpIf {
                test,
                operand: Operand::Constant(k),
                yes,
                no,
            } => {
                let (yes, no) = (at + usize::from(yes), at + usize::from(no));
                match line.word {
                    Some(4) => at = if test.holds(arch.audit(), k) { yes } else { no },
                    Some(0) => {
                        let question = question(test, k, arch);
                        let no = follow(lines, no, arch, leaves)?;
                        let yes = follow(lines, yes, arch, leaves)?;
                        return Some(Tree::Ask(question, Box::new(no), Box::new(yes)));
                    }
                    _ => {
                        *leaves += 1;
                        return (*leaves <= MOST_LEAVES).then_some(Tree::Arguments);
                    }
                }
            }
            Operation::JumpIf { .. } | Operation::ReturnAccumulator => return None,
            _ => {}
        }
    }
}

fn question(test: Comparison, k: u32, arch: Arch) -> String {
    let sign = match test {
        Comparison::Equal => "=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => "≥",
        Comparison::AnyBit => "&",
    };
    match syscalls::name(arch, k) {
        Some(name) => format!("{sign} {k} {name}"),
        None => format!("{sign} {k:#x}"),
    }
}

const ROW: usize = 16;
const COLUMN: usize = 130;

#[derive(Default)]
struct Drawing {
    svg: String,
    rows: usize,
    width: usize,
}

impl Drawing {
    /// Draws a tree to the right of a column, and says at which height its root is.
    fn node(&mut self, tree: &Tree, depth: usize, arch: Arch) -> usize {
        let x = depth * COLUMN + 4;
        self.width = self.width.max(x);
        match tree {
            Tree::Answer(action) => {
                let y = self.row();
                let (class, text) = (class_of(*action), action.display(arch).to_string());
                let _ = write!(
                    self.svg,
                    "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>",
                    escaped(&text)
                );
                y
            }
            Tree::Arguments => {
                let y = self.row();
                let _ = write!(
                    self.svg,
                    "<text class=\"other\" x=\"{x}\" y=\"{y}\">by arguments</text>"
                );
                y
            }
            Tree::Ask(question, no, yes) => {
                let low = self.node(no, depth + 1, arch);
                let high = self.node(yes, depth + 1, arch);
                let y = (low + high) / 2;
                // Long names would run into the next column.
                let short: String = question.chars().take(16).collect();
                let _ = write!(
                    self.svg,
                    "<text x=\"{x}\" y=\"{y}\"><title>{}</title>{}</text>",
                    escaped(question),
                    escaped(&short)
                );
                let (from, to) = (x + COLUMN - 14, x + COLUMN - 4);
                for (end, dashed) in [(low, " stroke-dasharray=\"3 2\""), (high, "")] {
                    let _ = write!(
                        self.svg,
                        "<path d=\"M{from} {0}V{1}H{to}\"{dashed}/>",
                        y - 4,
                        end - 4
                    );
                }
                y
            }
        }
    }

    fn row(&mut self) -> usize {
        self.rows += 1;
        self.rows * ROW
    }
}
