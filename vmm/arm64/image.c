// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads an uncompressed kernel: the file is copied to memory as it is and has a
 * header in its first 64 bytes.  See Documentation/arch/arm64/booting.rst of
 * the kernel.
 */
#include <elf.h>
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "image.h"

#define IMAGE_MAGIC		0x644d5241	/* ARM\x64 */
#define FLAG_BIG_ENDIAN		1
#define LOAD_ALIGNMENT		(2ULL << 20)	/* text_offset is relative to a multiple of this */

struct image_header {
	uint32_t code[2];
	uint64_t text_offset;
	uint64_t image_size;		/* in memory, which is larger than the file */
	uint64_t flags;
	uint64_t reserved[3];
	uint32_t magic;
	uint32_t pe_offset;		/* offset of the EFI header, if there is one */
};

_Static_assert(sizeof(struct image_header) == 64, "the header has 64 bytes");

static struct image_header read_header(const struct blob *file)
{
	struct image_header header;

	memcpy(&header, file->data, sizeof(header));
	header.code[0] = le32toh(header.code[0]);
	header.code[1] = le32toh(header.code[1]);
	header.text_offset = le64toh(header.text_offset);
	header.image_size = le64toh(header.image_size);
	header.flags = le64toh(header.flags);
	header.magic = le32toh(header.magic);
	header.pe_offset = le32toh(header.pe_offset);
	return header;
}

static bool has(const struct blob *file, size_t at, const void *bytes, size_t size)
{
	return file->size >= size && at <= file->size - size && !memcmp(file->data + at, bytes, size);
}

static uint32_t read_u32(const struct blob *file, uint64_t at)
{
	uint32_t value;

	memcpy(&value, file->data + at, sizeof(value));
	return le32toh(value);
}

static uint16_t read_u16(const struct blob *file, uint64_t at)
{
	return file->data[at] | file->data[at + 1] << 8;
}

/* One of the first two instructions is a branch over the header. */
static bool entry_is_cut_off(const struct blob *file, const struct image_header *header)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t words = header->code[i] & 0x03ffffff;

		/* a forward branch */
		if (header->code[i] >> 26 == 5 && !(words >> 25))
			return (words + i) * 4ULL + 4 > file->size;
	}
	return false;
}

/*
 * The EFI header, which not every kernel has, contains the end of each section.
 */
static bool section_is_cut_off(const struct blob *file, const struct image_header *header)
{
	uint64_t pe = header->pe_offset, table;

	if (!pe)
		return false;
	if (pe + 24 > file->size)
		return true;
	if (!has(file, pe, "PE\0", 4))
		return false;
	table = pe + 24 + read_u16(file, pe + 20);
	for (unsigned int i = 0; i < read_u16(file, pe + 6); i++) {
		uint64_t section = table + i * 40;

		if (section + 40 > file->size ||
		    (uint64_t)read_u32(file, section + 16) + read_u32(file, section + 20) > file->size)
			return true;
	}
	return false;
}

/* Recognises other files that a user may mistake for an Image. */
static const char *another_kind(const struct blob *file)
{
	if (has(file, 0x202, "HdrS", 4))
		return "a bzImage, a kernel for x86; an Image is needed";
	if (has(file, 0, ELFMAG, SELFMAG))
		return "an ELF file; an Image is needed";
	if (has(file, 0, "\x1f\x8b", 2))
		return "compressed; an uncompressed Image is needed";
	if (has(file, 0, "MZ", 2) && has(file, 4, "zimg", 4))
		return "compressed, for EFI; an uncompressed Image is needed";
	return NULL;
}

const char *image_check(const struct blob *file)
{
	const char *other = another_kind(file);
	struct image_header header;

	if (other)
		return other;
	if (file->size < sizeof(header))
		return "too short for a Linux kernel";
	header = read_header(file);
	if (header.magic != IMAGE_MAGIC)
		return "not an Image";
	if (!header.image_size)
		return "the kernel is older than Linux 3.17";
	if (header.flags & FLAG_BIG_ENDIAN)
		return "a big-endian kernel";
	if (header.text_offset >= LOAD_ALIGNMENT || header.image_size > UINT64_MAX - LOAD_ALIGNMENT ||
	    header.image_size < file->size)
		return "the header of the Image is damaged";
	if (entry_is_cut_off(file, &header) || section_is_cut_off(file, &header))
		return "the file is truncated";
	return NULL;
}

const char *image_load(const struct blob *file, const struct memory *memory,
		       uint64_t *entry, uint64_t *end)
{
	struct image_header header = read_header(file);
	void *to;

	*entry = MEMORY_BASE + header.text_offset;
	to = memory_at(memory, *entry, header.image_size);
	if (!to)
		return "the guest's memory is too small for this kernel";
	memcpy(to, file->data, file->size);
	*end = *entry + header.image_size;
	return NULL;
}
