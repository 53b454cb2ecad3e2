//! From a tag back to what it was made of: which numbers of pull requests a template may have had.

use std::collections::BTreeSet;

use super::template::{MAX_TAG, Part, Template, to_tag};

impl Template {
    /// All numbers that `{pr}` may stand for in `tag`, if this template made it; empty where it did not, or has no
    /// `{pr}`. `name` is what `{name}` stands for. With two numbers, nobody can say which pull request it was.
    #[must_use]
    pub fn pull_requests(&self, tag: &str, name: &str) -> BTreeSet<u64> {
        // A registry may list anything; what is no tag was not made by a template.
        if tag.is_empty() || to_tag(tag) != tag {
            return BTreeSet::new();
        }
        // Where each part may end, and the number that was read until there.
        let mut ends: BTreeSet<(usize, Option<u64>)> = BTreeSet::from([(0, None)]);
        // A tag that was cut says less than its template.
        let is_cut = tag.len() == MAX_TAG;
        let mut cut = BTreeSet::new();
        for part in self.parts() {
            let mut next = BTreeSet::new();
            for (start, number) in ends {
                let rest = &tag[start..];
                if rest.is_empty() && is_cut {
                    cut.extend(number);
                    continue;
                }
                match part {
                    Part::Variable(variable) if variable == "pr" => {
                        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                        for length in 1..=digits {
                            let is_number = !rest.starts_with('0') && (start + length < tag.len() || !is_cut);
                            let found = rest[..length].parse().ok().filter(|_| is_number);
                            if found.is_some() && (number.is_none() || number == found) {
                                next.insert((start + length, found));
                            }
                        }
                    }
                    Part::Variable(variable) if variable == "name" => {
                        literal(name, tag, start, number, is_cut, &mut next)
                    }
                    Part::Variable(_) => next.extend((start + 1..=tag.len()).map(|end| (end, number))),
                    Part::Literal(text) => literal(text, tag, start, number, is_cut, &mut next),
                }
            }
            ends = next;
        }
        let whole = ends.into_iter().filter(|(end, _)| *end == tag.len()).filter_map(|(_, number)| number);
        whole.chain(cut).collect()
    }
}

/// Goes over `text` as it stands in a tag.
fn literal(
    text: &str,
    tag: &str,
    start: usize,
    number: Option<u64>,
    is_cut: bool,
    next: &mut BTreeSet<(usize, Option<u64>)>,
) {
    // What stands at the beginning of a tag may have been changed for that.
    let written = to_tag(&format!("x{text}")).split_off(1);
    let changed = if start == 0 { to_tag(text) } else { written.clone() };
    for written in [written, changed] {
        let rest = &tag[start..];
        if rest.starts_with(&written) {
            next.insert((start + written.len(), number));
        } else if is_cut && written.starts_with(rest) {
            next.insert((tag.len(), number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::TAG_VARIABLES;
    use super::*;

    fn numbers(template: &str, tag: &str) -> Vec<u64> {
        let template = Template::parse(template, |name| TAG_VARIABLES.contains(&name)).unwrap();
        template.pull_requests(tag, "todo").into_iter().collect()
    }

    #[test]
    fn a_tag_says_which_pull_request_it_is_of() {
        assert_eq!(numbers("pr_{pr}__{version}", "pr_17__1.0.0"), [17]);
        assert_eq!(numbers("pr_{pr}__{version}", "pr_17__1.0.0__2_b"), [17]);
        assert_eq!(numbers("{name}-{pr}", "todo-4"), [4]);
        assert_eq!(numbers("{pr}", "4"), [4]);
        assert_eq!(numbers("+{pr}", "_4"), [4]);
        assert_eq!(numbers("-{pr}/x", "_4-x"), [4]);
        assert_eq!(numbers("pr-{pr}-{pr}", "pr-4-4"), [4]);
    }

    #[test]
    fn what_was_not_made_by_the_template_is_of_none() {
        for (template, tag) in [
            ("pr_{pr}__{version}", "1.0.0"),
            ("pr_{pr}__{version}", "pr_x__1.0.0"),
            ("pr_{pr}__{version}", "pr_17__"),
            ("pr_{pr}__{version}", "pr_017__1"),
            ("pr_{pr}__{version}", "xpr_17__1.0.0"),
            ("pr_{pr}__{version}", "pr_99999999999999999999__1"),
            ("{name}-{pr}", "todo-backend-4"),
            ("pr-{pr}-{pr}", "pr-4-5"),
            ("{version}", "1.0.0"),
            ("next", "next"),
            ("pr_{pr}", ""),
            ("{branch}_{pr}", "é_1"),
            ("pr_{pr}__{version}", "pr_17__1\n::add-mask::x"),
            ("pr_{pr}__{version}", "pr_17__../../x"),
        ] {
            assert_eq!(numbers(template, tag), [0; 0], "{template} {tag}");
        }
    }

    #[test]
    fn what_may_be_of_two_is_said_to_be() {
        assert_eq!(numbers("{branch}-{pr}-{version}", "x-1-2-3"), [1, 2]);
        assert_eq!(numbers("pr{pr}{version}", "pr123"), [1, 12]);
    }

    #[test]
    fn a_tag_that_was_cut_is_still_known() {
        let long = format!("pr_17__{}", "x".repeat(121));
        assert_eq!(numbers("pr_{pr}__{branch}__{version}", &long), [17]);
        // But not where the number itself may have been cut.
        let long = format!("{}_17", "x".repeat(125));
        assert_eq!(numbers("{branch}_{pr}__{version}", &long), [0; 0]);
        let hostile = "1-".repeat(64);
        assert!(numbers("{branch}{version}{sha}{date}{pr}{backstage}", &hostile).len() <= 1);
    }
}
