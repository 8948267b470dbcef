//! `/`: how the server is doing, for people.

use super::Shared;
use crate::clock;
use std::fmt::{self, Display, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use yubiotp::diagnostic::Diagnostic;
use yubiotp::shown;

/// How long the store's numbers are cached: counting a million tokens takes time.
const FRESH: Duration = Duration::from_secs(10);

/// The last numbers of the store.
#[derive(Default)]
pub(super) struct About(Mutex<Option<(Instant, String)>>);

impl About {
    /// As HTML.
    async fn store(&self, shared: &Shared) -> String {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, said)) = said.filter(|(at, _)| at.elapsed() < FRESH) {
            return said;
        }
        let store = shared.verifier.store();
        let asked =
            async { Ok::<_, crate::store::StoreFault>((store.version().await?, store.count().await?)) };
        let said = match tokio::time::timeout(Duration::from_secs(2), asked).await {
            Ok(Ok((version, count))) => {
                format!(
                    "{} · {} · {}",
                    Text(&version),
                    counted(count.clients, "client"),
                    counted(count.tokens, "token")
                )
            }
            Ok(Err(fault)) => format!("cannot be used: {}", Text(&fault.to_string())),
            Err(_) => "does not answer".to_owned(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), said.clone()));
        said
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2530;--soft:#5b6673;--line:#d9dee4;--paper:#fff;--back:#f4f6f8;--good:#1a7f4b;--bad:#b3261e}\
@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--soft:#9aa5b1;--line:#333c46;--paper:#1b2129;--back:#12171d;--good:#5dcc94;--bad:#ff8a80}}\
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:60rem;margin:0 auto;padding:1.25rem 1rem 3rem}h1{font-size:1.5rem;margin:0}h1 small{font-weight:400;color:var(--soft);font-size:1rem}\
h2{font-size:1.05rem;margin:2rem 0 .5rem}section{background:var(--paper);border:1px solid var(--line);border-radius:.5rem;padding:.25rem 1rem;overflow-x:auto}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;margin:.6rem 0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
tr:last-child td{border-bottom:0}th{color:var(--soft);font-weight:500}td.n{text-align:right;padding-right:0}code{font-family:ui-monospace,monospace;font-size:.92em}\
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}p.none{color:var(--soft);margin:.6rem 0}\
@media(max-width:34rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}.wide thead{display:none}.wide td{display:block;border:0;padding:.05rem 0}.wide td:nth-child(3)::before{content:'Client '}.wide td:nth-child(4)::before{content:'Token '}.wide td:first-child{padding-top:.5rem}.wide td:last-child{padding-bottom:.5rem}.wide tr{display:block;border-bottom:1px solid var(--line)}.wide tr:last-child{border:0}}";

/// The page.
pub(super) async fn render(shared: &Shared) -> String {
    let (ready, store) = tokio::join!(shared.ready(), shared.about.store(shared));
    let mut page = String::with_capacity(16 * 1024);
    // Writing to a string does not fail.
    let _ = write(&mut page, shared, ready.as_ref().err(), &store);
    page
}

fn write(
    page: &mut String,
    shared: &Shared,
    not_ready: Option<&Arc<Diagnostic>>,
    store: &str,
) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>ykvald</title><style>{STYLE}</style><main><h1>ykvald <small>{version}</small></h1><h2>Now</h2><section><dl>"
    )?;
    page.push_str("<dt>State</dt><dd>");
    match not_ready {
        None => page.push_str("<span class=\"good\">ready</span></dd>"),
        Some(why) => write!(
            page,
            "<span class=\"bad\">not ready</span>: {} <code>{}</code></dd>",
            Text(&why.to_string()),
            why.code
        )?,
    }
    // Only the store's value may contain text of others, and it is HTML already.
    let mut row = |name: &str, value: &str| write!(page, "<dt>{name}</dt><dd>{value}</dd>");
    row("Up", &up(shared.started.elapsed()))?;
    row("Store", store)?;
    row("TLS", if shared.tls { "yes" } else { "no: plain HTTP" })?;
    row("Connections", &grouped(u64::try_from(shared.server.open_connections()).unwrap_or(u64::MAX)))?;
    if let Some([half, most]) = shared.metrics.window.within([50, 99]) {
        row("Last verifications", &format!("half within {}, 99 % within {}", took(half), took(most)))?;
    }
    page.push_str("</dl></section><h2>Answers since the start</h2><section>");
    let answered: Vec<_> = shared.metrics.by_status().filter(|(_, count)| *count > 0).collect();
    if answered.is_empty() {
        page.push_str("<p class=\"none\">None yet.</p>");
    } else {
        page.push_str("<table><tbody>");
        for (status, count) in answered {
            write!(page, "<tr><td><code>{}</code><td class=\"n\">{}", status.name(), grouped(count))?;
        }
        page.push_str("</table>");
    }
    page.push_str("</section><h2>Last rejections and errors</h2><section>");
    let recent = shared.recent.list();
    if recent.is_empty() {
        page.push_str("<p class=\"none\">None since the start.</p>");
    } else {
        page.push_str("<table class=\"wide\"><thead><tr><th>Time (UTC)<th>Status<th>Client<th>Token<th>Why</thead><tbody>");
        for decided in recent {
            let decision = &decided.decision;
            let client = decision.client.map(|client| client.number().to_string());
            let token = decision.token.map(|token| token.to_string());
            write!(
                page,
                "<tr><td>{}<td><code>{}</code><td>{}<td><code>{}</code><td>{} <code>{}</code>",
                Text(&clock::written(decided.at.div_euclid(1000))),
                decision.status.name(),
                Text(client.as_deref().unwrap_or("–")),
                Text(token.as_deref().unwrap_or("–")),
                Text(&decision.reason),
                decision.code
            )?;
        }
        page.push_str("</table>");
    }
    page.push_str("</section></main></html>\n");
    Ok(())
}

/// Text for HTML: its markup and unprintable characters are escaped.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in shown::line(self.0).to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn up(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{} s", time.as_secs()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn took(time: Duration) -> String {
    let microseconds = time.as_micros();
    format!("{}.{:02} ms", microseconds / 1000, microseconds % 1000 / 10)
}

/// A number with separated thousands.
fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_for_html() {
        assert_eq!(
            Text("<script>alert('x')</script>&\"\r\u{202e}").to_string(),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\\u{d}\\u{202e}"
        );
    }

    #[test]
    fn as_people_read_it() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(123), "123");
        assert_eq!(up(Duration::from_secs(59)), "59 s");
        assert_eq!(up(Duration::from_secs(90_000)), "1 d 1 h");
        assert_eq!(up(Duration::from_secs(3720)), "1 h 2 min");
        assert_eq!(took(Duration::from_micros(1234)), "1.23 ms");
    }
}
