//! Decisions from bytes.

/// Takes values off the front of the input; at its end all are zero.
#[derive(Debug)]
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One of some.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// A byte that says how many, and as many bytes, or what is left.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let wanted = usize::from(self.byte());
        self.take(wanted)
    }

    /// The same with two bytes for the length.
    pub(crate) fn long_bytes(&mut self) -> &'a [u8] {
        let wanted = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
        self.take(wanted)
    }

    fn take(&mut self, wanted: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Small numbers mostly, and now and then one of the ends.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX,
            254 => u64::MAX - 1,
            253 => u64::from(u32::MAX),
            252 => u64::from(u32::MAX) - 1,
            251 => 1 << 40,
            250 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            small => u64::from(small) % 64,
        }
    }

    pub(crate) fn small(&mut self) -> u32 {
        self.number() as u32
    }

    /// The bytes as a text, as far as they are one.
    pub(crate) fn text(&mut self) -> &'a str {
        let bytes = self.bytes();
        str::from_utf8(bytes)
            .unwrap_or_else(|error| str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""))
    }
}
