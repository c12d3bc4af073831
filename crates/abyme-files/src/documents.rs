//! The text of documents that are more than text: PDF and DOCX, each behind a feature.

use crate::kind::Kind;

/// The text of a document; `None` if that is more than `most` bytes.
///
/// # Errors
/// Why there is none, for people.
pub(crate) fn text_of(kind: Kind, bytes: Vec<u8>, most: u64) -> Result<Option<String>, String> {
    let text = match kind {
        Kind::Pdf => Some(pdf(bytes)?),
        _ => docx(&bytes, most)?,
    };
    let Some(text) = text.filter(|text| text.len() as u64 <= most) else { return Ok(None) };
    if text.trim().is_empty() {
        return Err("there is no text in it: pages that are pictures have to be read by OCR first".to_owned());
    }
    Ok(Some(text))
}

#[cfg(not(feature = "pdf"))]
fn pdf(_: Vec<u8>) -> Result<String, String> {
    Err("a PDF, which needs a build with the feature `pdf`".to_owned())
}

#[cfg(not(feature = "docx"))]
fn docx(_: &[u8], _: u64) -> Result<Option<String>, String> {
    Err("a Word document, which needs a build with the feature `docx`".to_owned())
}

/// Reads a PDF on a thread of its own: what is broken may never end, or panic.
#[cfg(feature = "pdf")]
fn pdf(bytes: Vec<u8>) -> Result<String, String> {
    use std::{sync::mpsc, thread, time::Duration};

    const TIMEOUT: Duration = Duration::from_secs(60);
    const STACK_BYTES: usize = 64 << 20;
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        // Nobody waits any more where this fails.
        let _ = sender.send(pdf_extract::extract_text_from_mem(&bytes).map_err(|error| error.to_string()));
    };
    let thread = thread::Builder::new().name(PDF_THREAD.to_owned()).stack_size(STACK_BYTES);
    thread.spawn(read).map_err(|error| format!("no thread could be started: {error}"))?;
    match receiver.recv_timeout(TIMEOUT) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(problem)) => Err(format!("a PDF that cannot be read: {}", problem.replace('\n', " "))),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(format!("a PDF that was not read within {} s", TIMEOUT.as_secs()))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("a PDF that is damaged".to_owned()),
    }
}

/// The name of threads that read PDFs, which a panic says.
#[cfg(feature = "pdf")]
const PDF_THREAD: &str = "abyme-pdf";

/// The most that is unpacked for each byte of text that a document may have, and for a short one. An archive
/// can hold far more than it is long, and what marks text up is several times its length.
#[cfg(feature = "docx")]
const MAX_XML: (u64, u64) = (16, 16 << 20);

/// The text of a Word document, as far as to tell whether it is more than `most` bytes.
#[cfg(feature = "docx")]
fn docx(bytes: &[u8], most: u64) -> Result<Option<String>, String> {
    use std::io::{BufReader, Cursor, Read};

    use quick_xml::{Reader, escape::resolve_predefined_entity, events::Event};

    let max_xml = most.saturating_mul(MAX_XML.0).max(MAX_XML.1);
    let broken = |error: &dyn std::fmt::Display| format!("a Word document that is damaged: {error}");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(&error))?;
    let document = archive.by_name("word/document.xml").map_err(|error| broken(&error))?;
    let mut reader = Reader::from_reader(BufReader::new(document.take(max_xml.saturating_add(1))));
    let (mut text, mut buffer, mut is_text) = (String::new(), Vec::new(), false);
    loop {
        let event = reader.read_event_into(&mut buffer);
        if reader.buffer_position() > max_xml || text.len() as u64 > most {
            return Ok(None);
        }
        match event.map_err(|error| broken(&error))? {
            Event::Start(tag) if tag.name().as_ref() == "w:t" => is_text = true,
            Event::End(tag) if tag.name().as_ref() == "w:t" => is_text = false,
            Event::End(tag) if tag.name().as_ref() == "w:p" => text.push('\n'),
            Event::Empty(tag) if tag.name().as_ref() == "w:tab" => text.push('\t'),
            Event::Empty(tag) if matches!(tag.name().as_ref(), "w:br" | "w:cr") => text.push('\n'),
            Event::Text(piece) if is_text => text.push_str(&piece),
            Event::GeneralRef(entity) if is_text => {
                if let Some(char) = entity.resolve_char_ref().map_err(|error| broken(&error))? {
                    text.push(char);
                } else {
                    text.push_str(resolve_predefined_entity(&entity).unwrap_or_default());
                }
            }
            Event::Eof => return Ok(Some(text)),
            _ => {}
        }
        buffer.clear();
    }
}

#[cfg(all(test, feature = "docx"))]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    #[test]
    fn paragraphs_are_lines() {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("word/document.xml", zip::write::SimpleFileOptions::default()).unwrap();
        let xml = "<?xml version=\"1.0\"?><w:document><w:body><w:p><w:r><w:t>A &amp; B</w:t><w:tab/>\
                   <w:t xml:space=\"preserve\"> fee&#58;</w:t></w:r></w:p>\n\
                   <w:p><w:r><w:t>20</w:t></w:r></w:p></w:body></w:document>";
        archive.write_all(xml.as_bytes()).unwrap();
        let bytes = archive.finish().unwrap().into_inner();
        let text = |most| text_of(Kind::Docx, bytes.clone(), most).unwrap();
        assert_eq!(text(15).unwrap(), "A & B\t fee:\n20\n");
        assert_eq!(text(14), None);
        let half = bytes[..bytes.len() / 2].to_vec();
        assert!(text_of(Kind::Docx, half, 1 << 20).unwrap_err().contains("damaged"));
    }

    #[test]
    fn what_an_archive_hides_is_not_cut_silently() {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("word/document.xml", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(b"<w:document><w:p><w:t>first</w:t></w:p>").unwrap();
        for _ in 0..17 {
            archive.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        archive.write_all(b"<w:p><w:t>last</w:t></w:p></w:document>").unwrap();
        let bytes = archive.finish().unwrap().into_inner();
        assert!(bytes.len() < 1 << 20, "{}", bytes.len());
        assert_eq!(text_of(Kind::Docx, bytes.clone(), 1_000).unwrap(), None);
        assert_eq!(text_of(Kind::Docx, bytes, 2 << 20).unwrap().unwrap(), "first\nlast\n");
    }
}

#[cfg(all(test, feature = "pdf"))]
mod pdf_tests {
    use super::*;

    #[test]
    fn text_pictures_and_garbage() {
        /// A PDF with one page that draws this.
        fn pdf(content: &str) -> Vec<u8> {
            let objects = [
                "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
                "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R \
                 /Resources << /Font << /F1 5 0 R >> >> >>"
                    .to_owned(),
                format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
                "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
            ];
            let (mut file, mut offsets) = ("%PDF-1.4\n".to_owned(), Vec::new());
            for (index, object) in objects.iter().enumerate() {
                offsets.push(file.len());
                file.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
            }
            let start = file.len();
            file.push_str("xref\n0 6\n0000000000 65535 f \n");
            offsets.iter().for_each(|at| file.push_str(&format!("{at:010} 00000 n \n")));
            file.push_str(&format!("trailer << /Size 6 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"));
            file.into_bytes()
        }
        let text = pdf("BT /F1 12 Tf 20 200 Td (The fee is 20.) Tj ET");
        assert_eq!(text_of(Kind::Pdf, text.clone(), 5).unwrap(), None);
        let text = text_of(Kind::Pdf, text, 1_000).unwrap().unwrap();
        assert!(text.contains("The fee is 20."), "{text:?}");
        assert!(text_of(Kind::Pdf, pdf("0 0 100 100 re f"), 1_000).unwrap_err().contains("no text in it"));
        assert!(
            text_of(Kind::Pdf, b"%PDF-1.4 garbage".to_vec(), 1_000).unwrap_err().starts_with("a PDF that")
        );
    }
}
