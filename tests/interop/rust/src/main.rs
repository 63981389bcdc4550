//! Readers and writers of the seekable zstd format by others, in Rust and C:
//!
//!     readers zeekstd|contrib LAYER <RANGES
//!     readers write-zeekstd|write-contrib FRAME <STREAM >LAYER
//!
//! `zeekstd` is the crate; `contrib` is zstd's own contrib/seekable_format, which the crate
//! zstd-seekable wraps. Prints the sha256 of each range, one "OFFSET LENGTH" a line.

use sha2::{Digest, Sha256};
use std::{
    env,
    error::Error,
    fs::File,
    io::{self, Read as _, Write},
    process,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Reads `length` bytes at `offset`, or fewer where the stream ends.
type Read = Box<dyn FnMut(u64, usize) -> Result<Vec<u8>>>;

fn zeekstd(layer: &str) -> Result<Read> {
    let mut decoder = zeekstd::Decoder::new(File::open(layer)?)?;
    Ok(Box::new(move |offset, length| {
        decoder.set_offset(offset)?;
        decoder.set_offset_limit(offset + length as u64)?;
        let (mut data, mut have) = (vec![0; length], 0);
        while have < length {
            match decoder.decompress(&mut data[have..])? {
                0 => break,
                got => have += got,
            }
        }
        data.truncate(have);
        Ok(data)
    }))
}

fn contrib(layer: &str) -> Result<Read> {
    let mut seekable = zstd_seekable::Seekable::init(Box::new(File::open(layer)?))?;
    Ok(Box::new(move |offset, length| {
        let mut data = vec![0; length];
        let got = seekable.decompress(&mut data, offset)?;
        data.truncate(got);
        Ok(data)
    }))
}

fn write_zeekstd(frame: usize) -> Result<()> {
    let mut encoder = zeekstd::EncodeOptions::new()
        .frame_size_policy(zeekstd::FrameSizePolicy::Uncompressed(frame.try_into()?))
        .into_encoder(io::stdout())?;
    io::copy(&mut io::stdin(), &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

fn write_contrib(frame: usize) -> Result<()> {
    let mut stream = zstd_seekable::SeekableCStream::new(3, frame)?;
    let (mut data, mut packed) = (Vec::new(), vec![0; 1 << 20]);
    io::stdin().read_to_end(&mut data)?;
    let mut at = 0;
    while at < data.len() {
        let (out, used) = stream.compress(&mut packed, &data[at..])?;
        io::stdout().write_all(&packed[..out])?;
        at += used;
    }
    loop {
        let out = stream.end_stream(&mut packed)?;
        if out == 0 {
            return Ok(());
        }
        io::stdout().write_all(&packed[..out])?;
    }
}

fn run(reader: &str, layer: &str) -> Result<()> {
    match reader {
        "write-zeekstd" => return write_zeekstd(layer.parse()?),
        "write-contrib" => return write_contrib(layer.parse()?),
        _ => (),
    }
    let mut read = match reader {
        "zeekstd" => zeekstd(layer)?,
        "contrib" => contrib(layer)?,
        _ => return Err(format!("no reader '{reader}'").into()),
    };
    for line in io::stdin().lines() {
        let line = line?;
        let (offset, length) = line.split_once(' ').ok_or("a line without two numbers")?;
        let length = length.parse()?;
        let data = read(offset.parse()?, length)?;
        if data.len() != length {
            return Err(format!("{} bytes of '{line}'", data.len()).into());
        }
        println!("{:x}", Sha256::digest(&data));
    }
    Ok(())
}

fn main() {
    let args: Vec<String> = env::args().collect();
    if args.len() != 3 {
        eprintln!("usage: readers [write-]zeekstd|[write-]contrib LAYER|FRAME <RANGES|STREAM");
        process::exit(2);
    }
    if let Err(problem) = run(&args[1], &args[2]) {
        eprintln!("readers: {problem}");
        process::exit(1);
    }
}
