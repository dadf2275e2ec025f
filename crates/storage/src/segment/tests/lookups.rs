//! Candidates of a filter are the rows that a scan finds, whether a file has them or not.

use super::*;
use crate::lookup::candidates;
use crate::{Allowed, Constraint, LookupDef, LookupKind, Share};
use arrow::array::{Array, Int32Array, Int32Builder, ListBuilder, StringArray};

const ROWS: i32 = 2000;

/// Numbers 0, 7, 14, … modulo 1000, each second one; and texts that begin alike.
fn table() -> (TableLayout, RecordBatch) {
    let mut layout = layout(vec![column(1, "a", &SqlType::Int4), column(2, "b", &SqlType::Text)]);
    layout.lookups = vec![lookup(50, 1), lookup(51, 2)];
    let number = |row: i32| (row % 5 != 0).then_some(row * 7 % 1000);
    let a = Int32Array::from_iter((0..ROWS).map(number));
    let b = StringArray::from_iter_values((0..ROWS).map(|row| format!("https://host/{}", row % 500)));
    let batch = batch(&layout, vec![Arc::new(a), Arc::new(b)]);
    (layout, batch)
}

fn lookup(id: u32, column: u16) -> LookupDef {
    LookupDef { id: IndexId(id), column: ColumnId(column), kind: LookupKind::Values }
}

fn number(value: i32) -> ArrayRef {
    Arc::new(Int32Array::from(vec![value]))
}

fn found(segment: &Segment, layout: &TableLayout, column: u16, allowed: Allowed) -> Option<Vec<u32>> {
    candidates(segment, layout, &[Constraint { column: ColumnId(column), allowed }]).unwrap()
}

fn rows_with(batch: &RecordBatch, passes: impl Fn(i32) -> bool) -> Vec<u32> {
    let a = batch.column(0).as_any().downcast_ref::<Int32Array>().unwrap();
    (0..ROWS as u32).filter(|row| a.is_valid(*row as usize) && passes(a.value(*row as usize))).collect()
}

#[test]
fn candidates_are_the_rows_of_a_scan() {
    let fixture = fixture();
    let (mut layout, batch) = table();
    let meta = write(&fixture.env, &layout, &batch, 77);
    assert_eq!(meta.lookups.len(), 3, "numbers by order, texts by order and hash");
    let segment = open(&fixture.env, &meta);
    segment.verify().unwrap();
    let bare = open(&fixture.env, &SegmentMeta { lookups: Vec::new(), ..meta });
    // One that came later than the segment.
    layout.lookups.push(lookup(52, 1));
    for segment in [&segment, &bare] {
        let list: ArrayRef =
            Arc::new(Int32Array::from(vec![Some(21), None, Some(700), Some(21), Some(2000)]));
        let expected = rows_with(&batch, |a| a == 21 || a == 700);
        assert!(!expected.is_empty());
        assert_eq!(found(segment, &layout, 1, Allowed::Values(list)), Some(expected));
        let between = Allowed::Between(Some(number(100)), Some(number(130)));
        let expected = rows_with(&batch, |a| (100..=130).contains(&a));
        assert_eq!(found(segment, &layout, 1, between), Some(expected));
        let least = Allowed::Between(None, Some(number(20)));
        assert_eq!(found(segment, &layout, 1, least), Some(rows_with(&batch, |a| a <= 20)));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["https://host/7"]));
        assert_eq!(found(segment, &layout, 2, Allowed::Values(text)), Some(vec![7, 507, 1007, 1507]));
    }
}

#[test]
fn items_name_the_rows_that_have_them() {
    let fixture = fixture();
    let of = LookupKind::Items;
    let mut layout = layout(vec![
        column(1, "a", &SqlType::Array(Box::new(SqlType::Int4))),
        column(2, "b", &SqlType::Jsonb),
    ]);
    layout.lookups = vec![LookupDef { kind: of, ..lookup(50, 1) }, LookupDef { kind: of, ..lookup(51, 2) }];
    let lists = (0..ROWS).map(|row| {
        (row % 9 != 0)
            .then(|| vec![Some(row % 3), Some(row % 100), None, Some(1000 + row % 70), Some(row % 3)])
    });
    let mut a = ListBuilder::new(Int32Builder::new()).with_field(SqlType::Int4.field("item", true));
    lists.clone().for_each(|list| a.append_option(list));
    let document = |row: i32| format!(r#"{{"n": {}, "k{}": "x"}}"#, row % 200, row % 150);
    let b = StringArray::from_iter_values((0..ROWS).map(document));
    let batch = batch(&layout, vec![Arc::new(a.finish()), Arc::new(b)]);
    let meta = write(&fixture.env, &layout, &batch, 77);
    assert_eq!(meta.lookups.len(), 2);
    let bare = open(&fixture.env, &SegmentMeta { lookups: Vec::new(), ..meta.clone() });
    for segment in [&open(&fixture.env, &meta), &bare] {
        let rows = |passes: &dyn Fn(i32) -> bool| {
            Some((0..ROWS).filter(|row| passes(*row)).map(|row| row as u32).collect())
        };
        let items = |items: &[i32], share| {
            let items: ArrayRef = Arc::new(Int32Array::from(items.to_vec()));
            found(segment, &layout, 1, Allowed::Items(items, share))
        };
        let has = |row: i32, item: i32| row % 9 != 0 && [row % 3, row % 100, 1000 + row % 70].contains(&item);
        assert_eq!(
            items(&[1, 57, 1007], Share::All),
            rows(&|row| has(row, 1) && has(row, 57) && has(row, 1007))
        );
        assert_eq!(items(&[57, 1007], Share::Any), rows(&|row| has(row, 57) || has(row, 1007)));
        assert_eq!(items(&[1], Share::All), None, "too many");
        assert_eq!(items(&[], Share::All), None, "nothing to find by");
        let part = Allowed::Document(r#"{"k7": "x", "n": 7.0}"#.to_owned());
        assert_eq!(found(segment, &layout, 2, part), rows(&|row| row % 150 == 7 && row % 200 == 7));
        let keys = Allowed::Keys(vec!["k7".to_owned(), "n".to_owned()], Share::All);
        assert_eq!(found(segment, &layout, 2, keys), rows(&|row| row % 150 == 7));
        assert_eq!(found(segment, &layout, 1, Allowed::Values(number(7))), None, "not an index of values");
    }
}

#[test]
fn too_many_candidates_are_none() {
    let fixture = fixture();
    let (layout, batch) = table();
    let segment = open(&fixture.env, &write(&fixture.env, &layout, &batch, 2000));
    assert_eq!(found(&segment, &layout, 1, Allowed::Between(Some(number(100)), None)), None);
    let all_alike: ArrayRef = Arc::new(StringArray::from(vec!["https://"]));
    assert_eq!(found(&segment, &layout, 2, Allowed::Between(Some(all_alike), None)), None);
    // Of another type than the column, or of a column without an index.
    let text: ArrayRef = Arc::new(StringArray::from(vec!["21"]));
    assert_eq!(found(&segment, &layout, 1, Allowed::Values(text.clone())), None);
    assert_eq!(found(&segment, &layout, 3, Allowed::Values(text)), None);
}

#[test]
fn manifests_from_before_there_were_any_are_read() {
    let fixture = fixture();
    let (layout, batch) = table();
    let meta = SegmentMeta { lookups: Vec::new(), ..write(&fixture.env, &layout, &batch, 2000) };
    let mut bytes = rmp_serde::to_vec(&meta).unwrap();
    // A list of 15 fields, the last of them an empty list: without it.
    assert_eq!((bytes[0], bytes.pop()), (0x9f, Some(0x90)));
    bytes[0] = 0x9e;
    assert_eq!(rmp_serde::from_slice::<SegmentMeta>(&bytes).unwrap(), meta);
}

#[test]
fn without_memory_there_are_no_candidates_and_no_error() {
    let fixture = fixture();
    let (layout, batch) = table();
    let meta = SegmentMeta { lookups: Vec::new(), ..write(&fixture.env, &layout, &batch, 2000) };
    let memory = MemoryBudget::new(1000);
    let small = StorageEnv::new(fixture.env.objects.clone(), memory, StorageOptions::default());
    assert_eq!(found(&open(&small, &meta), &layout, 1, Allowed::Values(number(21))), None);
}

#[test]
fn a_segment_is_written_without_an_index_that_there_is_no_memory_for() {
    let fixture = fixture();
    let mut layout = layout(vec![column(1, "b", &SqlType::Jsonb)]);
    layout.lookups = vec![LookupDef { kind: LookupKind::Items, ..lookup(50, 1) }];
    let leaves: Vec<String> = (0..300).map(|leaf| format!("\"k{leaf}\": {leaf}")).collect();
    let document = format!("{{{}}}", leaves.join(", "));
    let b = StringArray::from_iter_values((0..ROWS).map(|_| &document));
    let batch = batch(&layout, vec![Arc::new(b)]);
    // 2,000 rows of 600 entries of 16 bytes are 19 MB.
    let small =
        StorageEnv::new(fixture.env.objects.clone(), MemoryBudget::new(10 << 20), StorageOptions::default());
    let meta = write(&small, &layout, &batch, 100);
    assert_eq!((meta.rows, meta.lookups.len()), (ROWS as u32, 0));
}
