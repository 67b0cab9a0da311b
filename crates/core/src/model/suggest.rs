//! What was probably meant by a word that nobody knows.

/// Characters of a word that are looked at.
const LONGEST: usize = 80;

/// The option that is nearest to `text`, if it is near enough to be what was meant: few letters differ (transposed ones
/// count once), or only the case does.
pub fn nearest<'a, T>(text: &str, options: impl IntoIterator<Item = &'a T>) -> Option<&'a T>
where
    T: AsRef<str> + Ord + ?Sized + 'a,
{
    let text: String = text.chars().take(LONGEST).collect::<String>().to_lowercase();
    let distance = |option: &T| strsim::damerau_levenshtein(&text, &option.as_ref().to_lowercase());
    let (distance, option) = options.into_iter().map(|option| (distance(option), option)).min()?;
    (distance <= (option.as_ref().len() / 3).max(1)).then_some(option)
}
