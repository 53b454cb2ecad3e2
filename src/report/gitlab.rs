//! What GitLab CI takes from a job: a dotenv report with variables for later jobs.
//! <https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv>

use super::outputs::Output;

/// The most of a dotenv report that GitLab takes by default, in bytes.
const MAX_BYTES: usize = 5 * 1024;

/// `outputs` as a dotenv report. GitLab takes no line breaks, no more than twenty variables and no more than five
/// kilobytes of them: lists stand on one line, and long values are left out, which the files of the output folder have.
#[must_use]
pub fn dotenv(outputs: &[Output]) -> String {
    let mut text = String::new();
    for Output { name, value } in outputs {
        let name = name.to_uppercase().replace('-', "_");
        let line = format!("RHDH_PACK_{name}={}\n", value.lines().collect::<Vec<_>>().join(" "));
        if text.len() + line.len() <= MAX_BYTES {
            text.push_str(&line);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotenv_report_has_one_line_a_variable() {
        let output = |name, value: &str| Output { name, value: value.to_owned() };
        let outputs = [
            output("published", "a@sha256:1\nb@sha256:2"),
            output("result", &"x".repeat(MAX_BYTES)),
            output("result-file", "/out/result.json"),
        ];
        assert_eq!(
            dotenv(&outputs),
            "RHDH_PACK_PUBLISHED=a@sha256:1 b@sha256:2\nRHDH_PACK_RESULT_FILE=/out/result.json\n"
        );
    }
}
