//! Tables as CSV (RFC 4180), harmless to the spreadsheet that opens them.

/// A table with a line of names before it.
#[must_use]
pub fn table(names: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = String::new();
    push_row(&mut out, names.iter().copied());
    for row in rows {
        push_row(&mut out, row.iter().map(String::as_str));
    }
    out
}

fn push_row<'a>(out: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_cell(out, cell);
    }
    out.push_str("\r\n");
}

/// A cell that begins like a formula gets a quote in front, so that it is text.
fn push_cell(out: &mut String, cell: &str) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    // A number with a sign is one.
    let is_formula = is_formula && cell.parse::<f64>().is_err();
    let needs_quotes = is_formula || cell.contains([',', '"', '\n', '\r']);
    if !needs_quotes {
        return out.push_str(cell);
    }
    out.push('"');
    if is_formula {
        out.push('\'');
    }
    out.push_str(&cell.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_need_be_and_formulas_are_text() {
        let rows = [
            vec!["a,b".to_owned(), "say \"x\"".to_owned()],
            vec!["=cmd|' /C calc'!A0".to_owned(), "-1.5".to_owned()],
            vec!["@SUM(A1)".to_owned(), "two\nlines".to_owned()],
        ];
        assert_eq!(
            table(&["one", "two"], rows),
            "one,two\r\n\"a,b\",\"say \"\"x\"\"\"\r\n\"'=cmd|' /C calc'!A0\",-1.5\r\n\
             \"'@SUM(A1)\",\"two\nlines\"\r\n"
        );
    }
}
