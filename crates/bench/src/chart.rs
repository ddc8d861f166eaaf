//! The bars of `docs/performance.svg`: what each filter adds to a request, this filter in one colour, its peers in
//! another, readable on light and dark.

use std::fmt::Write as _;

use super::report::Report;
use super::variants::Site;

const WIDTH: f64 = 1000.0;
const LABELS: f64 = 400.0;
const FIGURES: f64 = 70.0;
const ROW: f64 = 24.0;
const TOP: f64 = 40.0;

pub(crate) fn svg(report: &Report<'_>) -> String {
    let rows: Vec<_> =
        report.rows.iter().filter(|row| !row.variant.is_growth && row.variant.site != Site::Plain).collect();
    let most = rows.iter().map(|row| row.cost - row.plain).fold(1.0, f64::max);
    let height = TOP + ROW * rows.len() as f64 + 8.0;
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13" role="img">
<style>
text {{ fill: #24292f }} .ours {{ fill: #c2410c }} .peer {{ fill: #64748b }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .ours {{ fill: #fb923c }} .peer {{ fill: #94a3b8 }} }}
</style>
<text x="0" y="18" font-weight="bold">{} per request, over the same request without a filter</text>
"##,
        report.unit()
    );
    for (index, row) in rows.iter().enumerate() {
        let (over, y) = (row.cost - row.plain, TOP + ROW * index as f64);
        let length = (over / most).max(0.0) * (WIDTH - LABELS - FIGURES);
        let class = if row.variant.is_ours() { "ours" } else { "peer" };
        writeln!(
            text,
            r#"<text x="{}" y="{}" text-anchor="end">{}</text><rect class="{class}" x="{LABELS}" y="{}" width="{length:.1}" height="{}"/><text x="{:.1}" y="{}">{:.1}</text>"#,
            LABELS - 8.0,
            y + 14.0,
            row.variant.name,
            y,
            ROW - 6.0,
            LABELS + length + 6.0,
            y + 14.0,
            over / 1e3
        )
        .expect("a string");
    }
    text + "</svg>\n"
}
