//! Renders a hand-made record: `cargo run -p meshbed-report --example sample -- passed /tmp/sample`.

#[path = "../tests/sample/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod sample;

use std::error::Error;
use std::path::PathBuf;

use meshbed_report::{html, junit, maps, terminal, yaml};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let which =
        arguments.next().ok_or("which record? passed, failed, timed-out, interrupted, invalid, environment, large")?;
    let folder = PathBuf::from(arguments.next().ok_or("into which folder?")?);
    let record = match which.as_str() {
        "passed" => sample::failover(200, 1_050),
        "failed" => sample::failed(200),
        "timed-out" => sample::timed_out(200),
        "interrupted" => sample::interrupted(200),
        "invalid" => sample::invalid(200),
        "environment" => sample::environment(),
        "large" => sample::failover(2_000, 2_000),
        other => return Err(format!("no such record: {other}").into()),
    };
    std::fs::create_dir_all(&folder)?;
    let mut live = terminal::Live::new(terminal::Colour::No, terminal::Detail::Outcomes);
    let mut text: String = record.events.iter().flat_map(|event| live.lines(event)).map(|line| line + "\n").collect();
    text.push_str(&terminal::status_line(live.state()));
    text.push_str("\n\n");
    text.push_str(&terminal::table(&record));
    std::fs::write(folder.join("terminal.txt"), text)?;
    std::fs::write(folder.join("report.html"), html::report(&record)?)?;
    std::fs::write(folder.join("report.yaml"), yaml::report(&record)?)?;
    std::fs::write(folder.join("normalised.yaml"), yaml::normalised(&record)?)?;
    std::fs::write(folder.join("junit.xml"), junit::report(&record)?)?;
    for (path, text) in maps::texts(&record) {
        let path = folder.join("maps").join(path);
        std::fs::create_dir_all(path.parent().expect("a file in a folder"))?;
        std::fs::write(path, text)?;
    }
    Ok(())
}
