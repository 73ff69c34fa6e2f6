// SPDX-License-Identifier: GPL-2.0-only
/*
 * Direct-map references that are put lazily, and those of pages that left their
 * file.
 */

#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/guest_memfd.h>
#include <linux/pagemap.h>

#include "block.h"
#include "direct_map.h"
#include "kunit.h"
#include "page_state.h"
#include "reference.h"

#define QUEUE_MAX 16

static struct guest_memfd *lazy_file(struct kunit *test)
{
	struct guest_memfd *gm = gm_test_file(test, GM_FILE_NO_DIRECT_MAP);
	struct guest_memfd_put_queue *queue = guest_memfd_put_queue_alloc();

	KUNIT_ASSERT_NOT_NULL(test, queue);
	guest_memfd_set_put_queue(gm, queue);
	/* The file keeps it. */
	guest_memfd_put_queue_free(queue);
	return gm;
}

/* Bring a page into the file and get a reference to it. */
static struct folio *get(struct kunit *test, struct guest_memfd *gm, pgoff_t index)
{
	struct folio *folio = gm_test_grab(test, gm, index);

	KUNIT_ASSERT_EQ(test, gm_test_get(folio), 0);
	folio_unlock(folio);
	folio_put(folio);
	return folio;
}

static void test_revived(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct gm_test *t = test->priv;
	struct folio *folio = get(test, gm, TAIL);
	unsigned long state = gm_page_state(folio);
	unsigned int i, hides = t->nr_hides;
	int refs = folio_ref_count(folio);

	for (i = 0; i < 1000; i++) {
		guest_memfd_put_direct_map(folio);
		if (!i) {
			KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
			KUNIT_EXPECT_EQ(test, gm_page_state(folio), state | GM_PAGE_LAZY);
			KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 1);
		}
		get(test, gm, TAIL);
	}
	KUNIT_EXPECT_EQ(test, gm_page_state(folio), state);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), refs);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 0);
	KUNIT_EXPECT_LT(test, t->nr_hides - hides, 10);
	guest_memfd_put_direct_map(folio);
}

static void test_due(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct folio *folio[3];
	unsigned int i;

	for (i = 0; i < 3; i++)
		folio[i] = get(test, gm, TAIL + i);
	/* One has another reference: its put is none of the last. */
	get(test, gm, TAIL);
	for (i = 0; i < 3; i++)
		guest_memfd_put_direct_map(folio[i]);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 2);
	msleep(200);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 0);
	KUNIT_EXPECT_TRUE(test, gm_test_present(folio[0]));
	KUNIT_EXPECT_EQ(test, gm_page_state(folio[1]), gm_page_fresh(0));
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio[1]));
	KUNIT_EXPECT_FALSE(test, gm_test_present(folio[2]));
	guest_memfd_put_direct_map(folio[0]);
}

static void test_bounded(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	unsigned long most = 0;
	unsigned int i;

	/* Pages of a block, of which a tail of 16 would be too few. */
	for (i = 0; i < 3 * QUEUE_MAX; i++) {
		guest_memfd_put_direct_map(get(test, gm, i));
		most = max(most, gm_references_pending(gm));
	}
	KUNIT_EXPECT_LE(test, most, QUEUE_MAX);
	KUNIT_EXPECT_GT(test, most, 1);
}

static void test_drained(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct folio *lowered = get(test, gm, TAIL), *punched = get(test, gm, TAIL + 1);
	struct gm_test *t = test->priv;
	pgoff_t ignored;

	t->restored_pfn = folio_pfn(punched);
	guest_memfd_put_direct_map(lowered);
	guest_memfd_put_direct_map(punched);
	KUNIT_EXPECT_EQ(test, guest_memfd_set_access(gm, TAIL, TAIL + 1,
						     GUEST_MEMFD_ACCESS_USER, &ignored), 0);
	KUNIT_EXPECT_FALSE(test, gm_test_present(lowered));
	guest_memfd_punch_hole(gm, TAIL + 1, TAIL + 2);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 0);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);
}

/* What has left its file is scrubbed and freed by the last put itself. */
static void test_left(struct kunit *test)
{
	struct guest_memfd *gm = lazy_file(test);
	struct folio *folio = get(test, gm, TAIL), *kept = get(test, gm, TAIL + 1);
	struct gm_test *t = test->priv;

	t->restored_pfn = folio_pfn(folio);
	get(test, gm, TAIL);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 0);
	guest_memfd_punch_hole(gm, TAIL, TAIL + 2);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 2);
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 2);
	KUNIT_EXPECT_TRUE(test, gm_test_present(folio));
	guest_memfd_put_direct_map(folio);
	KUNIT_EXPECT_EQ(test, gm_references_left(gm), 1);
	KUNIT_EXPECT_EQ(test, gm_references_pending(gm), 0);
	KUNIT_EXPECT_EQ(test, t->nr_restored, 1);
	KUNIT_EXPECT_FALSE(test, t->restored_dirty);

	/* And a page that outlives its file. */
	iput(gm->inode);
	t->gm = NULL;
	KUNIT_EXPECT_TRUE(test, gm_test_present(kept));
	guest_memfd_put_direct_map(kept);
}

static struct kunit_case reference_cases[] = {
	KUNIT_CASE(test_revived),
	KUNIT_CASE(test_due),
	KUNIT_CASE(test_bounded),
	KUNIT_CASE(test_drained),
	KUNIT_CASE(test_left),
	{}
};

static struct kunit_suite reference_suite = {
	.name = "guest_memfd_reference",
	.init = gm_test_init,
	.exit = gm_test_exit,
	.test_cases = reference_cases,
};

kunit_test_suite(reference_suite);
